# One container a host, sized to its cores. docs/deployment.md says how to run it.
# Build: docker build -t fastproc .
#
# The base is pinned by its full tag. A build that must be the same for ever names the digest as well, as
#   docker buildx imagetools inspect python:3.13-slim-trixie
# prints it: docker build --build-arg BASE=python:3.13.16-slim-trixie@sha256:... -t fastproc .
ARG BASE=python:3.13.16-slim-trixie

# --- What the service needs, as it was tested. A change of the sources alone installs none of it again.
FROM ${BASE} AS dependencies
COPY requirements/build.txt requirements/run.txt requirements/profile.txt /requirements/
# Wheels only, so that nothing is compiled, but for pyvips, which has none and is pure Python where libvips has no headers.
RUN python -m venv /opt/fastproc \
 && for lock in build run profile; do /opt/fastproc/bin/pip install --no-cache-dir --require-hashes --no-build-isolation \
      --only-binary :all: --no-binary pyvips -r "/requirements/$lock.txt" || exit 1; done

# --- The service itself, under /package, so that it is a layer of its own.
FROM dependencies AS package
COPY pyproject.toml README.md LICENSE /src/
COPY fastproc /src/fastproc
RUN /opt/fastproc/bin/pip install --no-cache-dir --no-deps --no-build-isolation --root /package /src

# --- What nobody uses is taken out again: half of the bytes. binutils strips, tini goes into the image.
FROM dependencies AS slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends binutils tini && rm -rf /var/lib/apt/lists/*
COPY deploy/container/slim.py /
RUN /opt/fastproc/bin/python /slim.py

# --- The image.
FROM ${BASE}
# The service's own user, by number, so that an orchestrator can see that it is not root. The database's folder is the
# one place that it writes to: the root file system may be read-only, and /tmp is not needed.
RUN groupadd --system --gid 10001 fastproc \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent fastproc \
 && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=slim /usr/bin/tini-static /usr/bin/tini
COPY --from=slim /opt/fastproc /opt/fastproc
COPY --from=package /package/opt/fastproc /opt/fastproc
COPY --chmod=0755 scripts/profile /opt/fastproc/bin/fastproc-profile
COPY --chmod=0644 deploy/container/healthcheck.py /opt/fastproc/healthcheck.py
# MALLOC_ARENA_MAX: tuning.md, "MALLOC_ARENA_MAX". The workers set their own, their environment is empty otherwise.
ENV PATH=/opt/fastproc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2
# The default database, ./data/photos.db, lies in /data. Not by a variable: DATABASE_URL would contradict it.
WORKDIR /
USER 10001:10001
VOLUME /data
EXPOSE 8080
# Liveness only: a restart does not repair Redis or S3 (that is /ready).
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-IS", "/opt/fastproc/healthcheck.py"]
# SIGTERM finishes the jobs in hand (SHUTDOWN_GRACE_S, 30 s): give the container a longer stop timeout.
STOPSIGNAL SIGTERM
# PID 1 is tini: it reaps what `docker exec` leaves behind, and a SIGTERM that comes while Python still loads ends the
# service, where the kernel would drop it for a PID 1 without a handler. It hands on signals, arguments and the exit code.
ENTRYPOINT ["tini", "--", "fastproc"]
CMD ["run"]
