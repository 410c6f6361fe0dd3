# syntax=docker/dockerfile:1

FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv /venv
COPY requirements.lock pyproject.toml README.md ./
COPY app app
COPY alembic alembic
# The lock is a constraint, so that only what the gateway needs at run time is installed.
RUN /venv/bin/pip install --no-cache-dir --constraint requirements.lock .

FROM python:3.11-slim
LABEL org.opencontainers.image.title="Elements Gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 gateway \
    && useradd --system --uid 10001 --gid gateway --no-create-home gateway \
    && install -d -o gateway -g gateway /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8080 \
    GATEWAY_LOG_FORMAT=json \
    GATEWAY_DATABASE_URL=sqlite:////data/gateway.db
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
