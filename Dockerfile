# syntax=docker/dockerfile:1

# A release names its base by digest, which `docker buildx imagetools inspect python:3.11-slim` prints:
#   docker build --build-arg PYTHON=python:3.11-slim@sha256:... --tag elements-gateway .
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
WORKDIR /build
COPY requirements.lock ./
# Wheels only, each with a hash of the lock: no code of a dependency runs while the image is built.
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --only-binary :all: \
        --require-hashes --requirement requirements.lock
COPY app /gateway/app
COPY alembic /gateway/app/migrations
RUN /venv/bin/python -m compileall -q /gateway

FROM ${PYTHON}
LABEL org.opencontainers.image.title="Elements Gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 gateway \
    && useradd --system --uid 10001 --gid gateway --no-create-home --shell /usr/sbin/nologin gateway \
    && install --directory --owner gateway --group gateway --mode 0700 /data \
    && pip uninstall --yes --root-user-action ignore setuptools wheel pip
COPY --from=build /venv /venv
COPY --from=build /gateway /gateway
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/gateway \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8080 \
    GATEWAY_LOG_FORMAT=json
USER 10001:10001
# The database's default place, data/gateway.db, is on the volume from here.
WORKDIR /
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as http; http.urlopen(f'http://127.0.0.1:{os.environ[\"GATEWAY_PORT\"]}/health', timeout=2)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
