"""A Redis that speaks TLS alone, with a certificate of a CA made for it."""

import subprocess
from pathlib import Path

import redis

from tests.support.ports import free_port
from tests.support.servers import RedisServer

_EXTENSIONS = "subjectAltName=IP:127.0.0.1\n"


class TlsRedis(RedisServer):
    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def url(self) -> str:
        return f"rediss://127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        try:
            return bool(redis.Redis("127.0.0.1", self.port, ssl=True, ssl_ca_certs=str(self.ca_file)).ping())
        except redis.RedisError:
            return False


def tls_redis(folder: Path, binary: str) -> TlsRedis:
    folder.mkdir(parents=True, exist_ok=True)
    _make_certificates(folder)
    port = free_port()
    options = {
        "port": "0",
        "tls-port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "save": "",
        "tls-cert-file": str(folder / "server.pem"),
        "tls-key-file": str(folder / "server.key"),
        "tls-ca-cert-file": str(folder / "ca.pem"),
        "tls-auth-clients": "no",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return TlsRedis([binary, *words], port, folder)


def _make_certificates(folder: Path) -> None:
    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=tests", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new, "-subj", "/CN=redis", "-keyout", "server.key", "-out", "server.csr")
    (folder / "extensions").write_text(_EXTENSIONS)
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
    openssl("x509", "-req", "-in", "server.csr", *signing, "-out", "server.pem")
