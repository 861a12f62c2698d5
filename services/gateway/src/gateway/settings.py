"""All that the gateway reads from its environment."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from gateway.adapters.smtp import SmtpServer
from gateway.issuers import Issuer, is_private, one_name_each
from sluice.access import Level, normalise_email
from sluice.settings import CommonSettings, KeySettings

MIN_PASSWORD = 12
MAX_PASSWORD = 128
_MEGABYTE = 1024 * 1024


class GatewaySettings(CommonSettings, KeySettings):
    model_config = SettingsConfigDict(hide_input_in_errors=True)

    port: int = Field(
        default=8000,
        validation_alias=AliasChoices("port", "SLUICE_GATEWAY_PORT"),
        description="Port of the HTTP API.",
    )
    database_url: SecretStr | None = Field(
        default=None, description="`postgresql+asyncpg://...`; SQLite at `<state>/data/sluice.db` when not set."
    )
    passport_key_file: Path | None = Field(
        default=None, description="Ed25519 private key that passports are signed with; `<state>/keys/passport.key`."
    )
    operator_token_file: Path | None = Field(
        default=None, description="The operators' bearer token; `<state>/keys/operator.token`."
    )
    admin_email: str = Field(default="admin@razorpay.com", description="The first admin, in the tenant `default`.")
    admin_password: SecretStr | None = Field(
        default=None,
        description="The first admin's password, 12 to 128 characters; a one-time one is made when not set.",
    )
    session_hours: float = Field(default=8, gt=0, le=24 * 30, description="How long a bearer token is good for.")
    login_attempts: int = Field(default=10, ge=1, description="Failed logins an address has before it must wait.")
    login_window_seconds: float = Field(default=900, gt=0, description="How long it must wait then.")
    login_lock_attempts: int = Field(
        default=50,
        ge=0,
        description="Failed logins after which an address is locked until an admin lifts it; 0: never.",
    )
    login_lock_seconds: float = Field(
        default=86_400, gt=0, description="How long such failures are counted, from the first; then the lock ends."
    )
    public_url: str = Field(
        default="http://127.0.0.1:7860",
        description="Where browsers find the page: links in mails and the way back from an issuer lead there.",
    )
    oidc_issuers: tuple[Issuer, ...] = Field(
        default=(),
        description="OpenID Connect issuers, as a JSON list of `name`, `issuer`, `client_id`, `client_secret_file`,"
        " `tenants` (slugs), and if wanted `title` and `may_join`; docs/operations.md has examples.",
    )
    smtp_url: str | None = Field(
        default=None,
        description="Mail server that links are mailed by: `smtp://USER@HOST:587` (turned to TLS) or `smtps://`.",
    )
    smtp_password_file: Path | None = Field(default=None, description="The password of that user.")
    smtp_from: str | None = Field(default=None, description="The address that mails come from.")
    question_deadline_seconds: float = Field(default=120, gt=0, description="When an unanswered question is given up.")
    job_deadline_seconds: float = Field(default=6 * 3600, gt=0, description="When an unfinished job is given up.")
    log_deadline_seconds: float = Field(default=60, gt=0, description="When an unanswered log search is given up.")
    history_turns: int = Field(default=6, ge=0, le=50, description="Earlier turns that a follow-up question carries.")
    heartbeat_seconds: float = Field(default=15, gt=0, description="Pause between comments on a silent event stream.")
    resume_grace_seconds: float = Field(
        default=5, ge=0, description="How long a client of an event stream may be gone before its work is cancelled."
    )
    max_body_bytes: int = Field(default=256 * 1024, gt=0, description="Largest JSON body.")
    max_file_bytes: int = Field(default=50 * _MEGABYTE, gt=0, description="Largest uploaded file.")
    max_upload_bytes: int = Field(default=200 * _MEGABYTE, gt=0, description="Largest upload of many files in one go.")
    max_offer_bytes: int = Field(
        default=8 * _MEGABYTE, gt=0, description="Largest entry of documents.offered.v1; a larger one is a dead letter."
    )
    offer_window_seconds: float = Field(
        default=300, gt=0, description="How far an offer's time may lie from when Redis took it in."
    )
    max_files: int = Field(default=100, ge=1, le=500, description="Most files and URLs of one upload.")
    max_open_questions: int = Field(
        default=200, ge=1, description="Questions of all tenants that may wait for their answers; more get 429."
    )
    max_tenant_questions: int = Field(default=100, ge=1, description="The same of one tenant.")
    max_open_documents: int = Field(
        default=100_000, ge=1, description="Documents of all tenants that may wait to be indexed or deleted."
    )
    max_tenant_documents: int = Field(default=20_000, ge=1, description="The same of one tenant.")
    max_open_fixes: int = Field(default=2000, ge=1, description="Fixes of all tenants that may wait to be indexed.")
    max_tenant_fixes: int = Field(default=1000, ge=1, description="The same of one tenant.")
    max_log_searches: int = Field(default=32, ge=1, description="Log searches under way in one gateway.")
    max_tenant_log_searches: int = Field(default=16, ge=1, description="The same of one tenant.")
    person_requests_per_minute: int = Field(
        default=3000, ge=0, description="Requests a person may make; more get 429. 0, here and below: no limit."
    )
    key_requests_per_minute: int = Field(default=6000, ge=0, description="The same of an API key.")
    tenant_requests_per_minute: int = Field(default=30_000, ge=0, description="The same of all of a tenant together.")
    person_questions_per_minute: int = Field(default=300, ge=0, description="Questions a person may ask.")
    person_questions_per_day: int = Field(default=5000, ge=0, description="The same in a day of UTC.")
    tenant_questions_per_minute: int = Field(default=3000, ge=0, description="Questions of all of a tenant together.")
    tenant_storage_bytes: int = Field(
        default=100 * 1024 * _MEGABYTE,
        ge=0,
        description="What the files of a tenant's documents may weigh.",
    )
    interactive_documents: int = Field(
        default=10, ge=0, description="Documents of one upload that go before all bulk; a larger upload is bulk."
    )
    bulk_window: int = Field(
        default=16,
        ge=1,
        description="Bulk documents of a lane on the queue at once, the others wait their tenant's turn;"
        " at least twice what the workers of the lane take at once.",
    )
    reconcile_seconds: float = Field(default=60, gt=0, description="Pause between looks for messages never published.")
    reconcile_after_seconds: float = Field(
        default=15, ge=0, description="Age at which an unpublished row is published again."
    )
    lost_after_seconds: float = Field(
        default=30, ge=0, description="Silence after which work is looked for on the queue, and begun again if gone."
    )
    idempotency_days: float = Field(default=7, gt=0, description="How long an Idempotency-Key is remembered.")

    selftest_command: tuple[str, ...] = Field(
        default=(),
        description="Command of the leak self-test, as a JSON list, for the operators' button; no shell reads it. "
        "`sluice up` sets it; without it the button says what to run instead.",
    )
    selftest_environment: dict[str, SecretStr] | None = Field(
        default=None, description="All that this command finds in its environment, as JSON; `sluice up` sets it."
    )

    @field_validator("admin_email")
    @classmethod
    def _one_form(cls, value: str) -> str:
        return normalise_email(value)

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
            raise ValueError("must be the address of the page, such as https://support.example.com")
        return value.rstrip("/")

    @field_validator("oidc_issuers")
    @classmethod
    def _issuers_are_told_apart(cls, value: tuple[Issuer, ...]) -> tuple[Issuer, ...]:
        return one_name_each(value)

    @model_validator(mode="after")
    def _mail_is_complete(self) -> Self:
        if (self.smtp_url is None) is not (self.smtp_from is None):
            raise ValueError("SLUICE_SMTP_URL and SLUICE_SMTP_FROM go together")
        if self.smtp_url and (
            urlsplit(self.smtp_url).scheme not in ("smtp", "smtps") or urlsplit(self.smtp_url).password
        ):
            raise ValueError("SLUICE_SMTP_URL must be smtp:// or smtps://, and its password lies in a file")
        return self

    @model_validator(mode="after")
    def _issuers_send_back_in_private(self) -> Self:
        if self.oidc_issuers and not is_private(self.public_url):
            raise ValueError("SLUICE_OIDC_ISSUERS needs a SLUICE_PUBLIC_URL that begins with https://")
        return self

    @model_validator(mode="after")
    def _password_is_no_default(self) -> Self:
        if self.admin_password is None:
            return self
        password = self.admin_password.get_secret_value()
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise ValueError(f"SLUICE_ADMIN_PASSWORD needs {MIN_PASSWORD} to {MAX_PASSWORD} characters")
        if len(set(password)) < 5 or password.lower() == self.admin_email:
            raise ValueError("SLUICE_ADMIN_PASSWORD is too easy to guess: choose another, or leave it out")
        return self

    @property
    def selftest_child_environment(self) -> dict[str, str]:
        """Nothing of the gateway's own."""
        return {name: value.get_secret_value() for name, value in (self.selftest_environment or {}).items()}

    @property
    def smtp_server(self) -> SmtpServer | None:
        if self.smtp_url is None or self.smtp_from is None:
            return None
        return SmtpServer(url=self.smtp_url, password_file=self.smtp_password_file, sender=self.smtp_from)

    @property
    def sql_url(self) -> str:
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.data_dir.absolute() / 'sluice.db'}"

    @property
    def both_key_files(self) -> dict[Level, tuple[Path, ...]]:
        """The gateway takes in documents of either level; by default the keys lie where `sluice up` makes them."""
        made = {level: (self.keys_dir / f"level-{level.lower()}.key",) for level in Level}
        return made | self.level_key_files

    @property
    def passport_key_path(self) -> Path:
        return self.passport_key_file or self.keys_dir / "passport.key"

    @property
    def operator_token_path(self) -> Path:
        return self.operator_token_file or self.keys_dir / "operator.token"

    @property
    def first_password_path(self) -> Path:
        return self.state_dir / "run" / "gateway" / "first-admin-password"
