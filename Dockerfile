# One container a host, sized to its cores. Build: docker build -t fastproc .
# Run:  docker run --env-file fastproc.env -v photos-db:/data -p 8080:8080 fastproc
FROM python:3.13-slim AS build
COPY . /src
# Wheels only, so that nothing is compiled: pyvips has none, but is pure Python where libvips has no headers.
RUN python -m venv /opt/fastproc \
 && /opt/fastproc/bin/pip install --no-cache-dir --only-binary :all: --no-binary fastproc,pyvips /src

FROM python:3.13-slim
# The service's own user; the database's folder is the one place that it writes to.
RUN useradd --system --uid 10001 --no-create-home fastproc \
 && mkdir /data && chown fastproc /data
COPY --from=build /opt/fastproc /opt/fastproc
ENV PATH=/opt/fastproc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 \
    SQLITE_PATH=/data/photos.db
USER fastproc
VOLUME /data
EXPOSE 8080
# Liveness only: a restart does not mend Redis or S3 (that is /ready).
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s CMD ["python", "-c", \
 "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"HTTP_PORT\", 8080)}/health', timeout=2)"]
# SIGTERM finishes the jobs in hand (SHUTDOWN_GRACE_S, 30 s): give the container a longer stop timeout.
STOPSIGNAL SIGTERM
ENTRYPOINT ["fastproc"]
CMD ["run"]
