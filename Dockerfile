# syntax=docker/dockerfile:1
# The page and the API in one image; docs/container.md says how to use it. Research use only.
#   docker build -t cerviclip .
# PyTorch comes from the package index like all else. INDEX names another index, such as a mirror:
#   docker build --build-arg INDEX=https://mirror.example/simple -t cerviclip .
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
ARG INDEX=https://pypi.org/simple
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_INDEX_URL=${INDEX}
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:${PATH}
COPY pyproject.toml setup.py README.md LICENSE MANIFEST.in CHANGELOG.md CONTRIBUTING.md UPGRADING.md ./
COPY train.py run_shell.py ./
COPY dassl dassl
COPY cerviclip cerviclip
COPY trainers trainers
COPY datasets datasets
COPY configs configs
COPY tools tools
# Bounds of versions stand in pyproject.toml.
# hadolint ignore=DL3013
RUN pip install --no-compile ".[app,explain]"

FROM python:${PYTHON}
# Without these fonts reports show Chinese as "?". The version is that of the base's Debian release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends fonts-noto-cjk \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 cerviclip \
    && useradd --no-log-init --uid 10001 --gid cerviclip --no-create-home --home-dir /state --shell /usr/sbin/nologin cerviclip \
    && install -d -o cerviclip -g cerviclip -m 0700 /state
COPY --from=build /opt/venv /opt/venv
# All that is written goes to /state (a volume) and /tmp (memory): the rest may be read-only.
ENV PATH=/opt/venv/bin:${PATH} \
    HOME=/state \
    CERVICLIP_CACHE=/state/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /state
USER 10001:10001
VOLUME ["/state"]
EXPOSE 8000 8501
# Whichever of the two runs here: the API answers /ready, the page /_stcore/health.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-m", "cerviclip.app.healthy"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["cerviclip"]
CMD ["doctor"]
