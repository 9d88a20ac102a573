# Stands for python:3.11-slim-bookworm. Debian's own Python; how this machine's pip reaches an index comes with it.
FROM scripthut-proof/debian:bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY pip.conf /etc/pip.conf
COPY authorities.pem /etc/ssl/certs/ca-certificates.crt
