# One container a host, sized to its cores. Build: docker build -t fastproc .
# Run:  docker run --env-file fastproc.env -v photos-db:/data -p 8080:8080 fastproc
FROM python:3.13-slim AS build
# Dependencies first, and as they were tested: a change of the sources alone installs none of them again. Wheels only, so
# that nothing is compiled, but for pyvips, which has none and is pure Python where libvips has no headers.
COPY requirements /requirements
RUN python -m venv /opt/fastproc \
 && cd /requirements \
 && for lock in build run; do /opt/fastproc/bin/pip install --no-cache-dir --require-hashes --no-build-isolation \
      --only-binary :all: --no-binary pyvips -r "$lock.txt" || exit 1; done
COPY . /src
RUN /opt/fastproc/bin/pip install --no-cache-dir --no-deps --no-build-isolation /src \
 && /opt/fastproc/bin/pip uninstall --yes setuptools

FROM python:3.13-slim
# The service's own user; the database's folder is the one place that it writes to.
RUN useradd --system --uid 10001 --no-create-home fastproc \
 && mkdir /data && chown fastproc /data
COPY --from=build /opt/fastproc /opt/fastproc
ENV PATH=/opt/fastproc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2
# The default database, ./data/photos.db, lies in /data. Not by a variable: DATABASE_URL would contradict it.
WORKDIR /
USER fastproc
VOLUME /data
EXPOSE 8080
# Liveness only: a restart does not repair Redis or S3 (that is /ready).
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s CMD ["python", "-c", \
 "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"HTTP_PORT\", 8080)}/health', timeout=2)"]
# SIGTERM finishes the jobs in hand (SHUTDOWN_GRACE_S, 30 s): give the container a longer stop timeout.
STOPSIGNAL SIGTERM
ENTRYPOINT ["fastproc"]
CMD ["run"]
