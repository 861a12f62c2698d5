"""All that the retriever reads from its environment."""

from pydantic import Field

from sluice.settings import StoreSettings


class RetrieverSettings(StoreSettings):
    port: int = Field(default=8121, description="Port of /healthz, /readyz and /metrics.")
    retriever_concurrency: int = Field(default=8, ge=1, description="Questions that one retriever works on at once.")
    passages: int = Field(default=6, ge=1, le=20, description="Passages given to the model for a question.")
    fix_threshold: float = Field(
        default=0.75,
        ge=0,
        le=1,
        description="Least cosine between a question and a fix's question for the fix to match.",
    )
