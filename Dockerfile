# Any Debian that has a Python of 3.11 or later, with venv, as `python`.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
# Its version reaches nothing that is kept.
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
RUN python -m venv tools && python -m venv --without-pip /opt/dyte-archiver && mkdir data
# Every wheel is compared with its hash here, and below nothing else is at hand.
COPY requirements.txt ./
RUN tools/bin/pip download -q --no-deps --require-hashes --only-binary :all: -d wheels -r requirements.txt
# What may be left out, comma-separated; S3, folders and SQLite are always there.
ARG EXTRAS=postgresql,azure,gcs,sftp
COPY pyproject.toml ./
# Left out: debug symbols, and what botocore knows of AWS beyond S3 and the ways to sign in (60 MB together). What is
# imported is compiled, since with a root that cannot be written to every start would do it again.
RUN python -c "import sys, tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = [project['optional-dependencies'][extra] for extra in sys.argv[1].split(',') if extra]; \
print(*sum(extras, project['dependencies']), sep='\n')" "${EXTRAS}" > wanted.txt \
 && tools/bin/pip --python /opt/dyte-archiver/bin/python install -q --no-compile --no-index --find-links wheels -r wanted.txt \
 && find /opt/dyte-archiver/lib -name '*.so' -not -path '*.libs/*' -exec strip --strip-unneeded {} + \
 && find /opt/dyte-archiver/lib/ -path '*/botocore/data/*' -type d -prune \
      -not -name s3 -not -name 'sso*' -not -name signin -not -name sts -exec rm -r {} + \
 && python -m compileall -q --invalidation-mode unchecked-hash \
      -x '/pygments/(lexers|styles)/|/sqlalchemy/(testing|dialects/(mssql|mysql|oracle))/|/examples/|/tests/' /opt/dyte-archiver/lib
COPY service /app/service
RUN chmod -R a+rX /app && python -m compileall -q --invalidation-mode unchecked-hash /app/service \
 && python -c "import pathlib; command = pathlib.Path('/app/dyte-archiver'); \
command.write_text('#!/opt/dyte-archiver/bin/python\nfrom service.__main__ import main\n\nmain()\n'); command.chmod(0o755)"

FROM ${BASE}
LABEL org.opencontainers.image.title="dyte-archiver" \
      org.opencontainers.image.description="Archives Dyte and Cloudflare RealtimeKit recordings in your own storage" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE /usr/share/licenses/dyte-archiver/LICENSE
# The ledger, and the archive if no storage is configured. No VOLUME: what nobody mounts must not look kept.
COPY --from=build --chown=65532:65532 /build/data /data
COPY --from=build /opt/dyte-archiver /opt/dyte-archiver
COPY --from=build /app /app
ENV PATH=/app:/opt/dyte-archiver/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /data
USER 65532:65532
EXPOSE 8080 9090
# The admin port's /healthz, which Kubernetes asks by itself.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('ARCHIVER_ADMIN_PORT', '9090') + '/healthz', timeout=4)"]
ENTRYPOINT ["dyte-archiver"]
CMD ["serve"]
# Last, since they differ in every build.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
