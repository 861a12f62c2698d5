# One recipe for every program: docker build --build-arg SERVICE=gateway -t sluice/gateway .
# SERVICE is a folder of services/, or `frontend`, or `sluice` (the command of that name, and Chroma's server).

# The packages that run, at the versions and hashes of the lock; the same layer for all images.
FROM python:3.11-slim-bookworm AS packages
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/tools \
 && sed -n '/^uv==/,/[^\\]$/p' requirements.lock > uv.txt \
 && /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r uv.txt
ENV PATH=/opt/tools/bin:$PATH UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml ./
COPY shared/pyproject.toml shared/
COPY frontend/pyproject.toml frontend/
COPY services/gateway/pyproject.toml services/gateway/
COPY services/ingest-worker/pyproject.toml services/ingest-worker/
COPY services/llm-router/pyproject.toml services/llm-router/
COPY services/log-bridge/pyproject.toml services/log-bridge/
COPY services/retriever/pyproject.toml services/retriever/
# The lock holds the development tools too: of it, install what the members ask for.
RUN uv pip compile --quiet -c requirements.lock --no-emit-package sluice -o packages.txt \
        shared/pyproject.toml frontend/pyproject.toml services/*/pyproject.toml \
 && uv venv --quiet /opt/venv \
 && uv pip install --python /opt/venv --compile-bytecode --require-hashes -c requirements.lock -r packages.txt

# The wheels of one service, and the command that runs it.
FROM packages AS members
RUN echo hatchling | uv pip compile --quiet -c requirements.lock -o tools.txt - \
 && uv pip install --python /opt/tools --require-hashes -c requirements.lock -r tools.txt
COPY shared shared
COPY frontend frontend
COPY services services
ARG SERVICE
RUN case "$SERVICE" in \
        sluice) members=./shared run=sluice ;; \
        frontend) members=./frontend run='python -m sluice_frontend' ;; \
        *) members="./shared ./services/${SERVICE:?which one?}" run="python -m $(echo "$SERVICE" | tr - _)" ;; \
    esac \
 && pip wheel --no-deps --no-build-isolation --no-cache-dir --disable-pip-version-check -w /wheels $members \
 && printf '#!/bin/sh\nexec %s\n' "$run" > /wheels/serve && chmod 0755 /wheels/serve

FROM python:3.11-slim-bookworm
# The folders are here so that new volumes belong to the user: Docker takes the owner from the image.
RUN groupadd --gid 10001 sluice && useradd --uid 10001 --gid sluice --home-dir /tmp --no-create-home sluice \
 && install -d -o sluice -g sluice -m 0700 /var/lib/sluice /var/lib/sluice/keys /var/lib/sluice/logs \
        /var/lib/sluice/run /var/lib/sluice/data /var/lib/sluice/data/blobs \
        /var/lib/sluice/data/blobs/external /var/lib/sluice/data/blobs/internal /var/lib/sluice/data/chroma \
        /var/lib/sluice/data/keys /var/lib/sluice/data/keys/external /var/lib/sluice/data/keys/internal \
        /keys /keys/database /keys/external /keys/gateway /keys/internal /keys/public \
        /keys/redis-gateway /keys/redis-ingest-worker-external /keys/redis-ingest-worker-internal \
        /keys/redis-retriever-external /keys/redis-retriever-internal \
        /keys/redis-llm-router-external /keys/redis-llm-router-internal /keys/redis-log-bridge \
 && install -d -o sluice -g sluice -m 0755 /keys/redis
COPY --from=packages /opt/venv /opt/venv
COPY --from=members /wheels /wheels
RUN pip --python /opt/venv/bin/python install --no-deps --no-index --no-cache-dir --disable-pip-version-check \
        /wheels/*.whl \
 && mv /wheels/serve /usr/local/bin/serve
# One port for all, each in its own container. The thread pools of a dozen processes only cost memory.
ENV PATH=/opt/venv/bin:$PATH \
    SLUICE_STATE_DIR=/var/lib/sluice \
    SLUICE_HOST=0.0.0.0 \
    SLUICE_PORT=8000 \
    SLUICE_PAGE_PORT=8000 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    TOKENIZERS_PARALLELISM=false \
    MALLOC_ARENA_MAX=2
WORKDIR /var/lib/sluice
USER sluice
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=10s --start-period=90s CMD ["python", "-I", "-S", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["serve"]
