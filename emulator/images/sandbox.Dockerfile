# The image of the built-in templates. The emulator carries this file and builds it on first use; scripts/images
# builds the same where no registry can be reached. BASE may be any Debian 12.
ARG BASE=debian:12-slim
FROM ${BASE}

# npm comes from Debian although it is most of the packages (10 s and 100 MB of 17 s and 280 MB, measured): the
# tarball of the npm registry would be a second source, and HTTPS from a build fails behind proxies that open it.
# What apt says is the progress that the emulator shows: a build that is silent for minutes counts as dead.
# /opt/venv is part of the documented layout (api-reference/files); with it, pip installs as a plain user expects.
RUN export DEBIAN_FRONTEND=noninteractive \
 && apt-get update -q \
 && apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Use-Pty=0 \
      bash coreutils procps ca-certificates curl git \
      python3 python-is-python3 python3-venv \
      nodejs npm \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old \
 && python3 -m venv --system-site-packages /opt/venv \
 && mkdir -p /workspace /home/sandbox

ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /workspace
CMD ["bash"]
