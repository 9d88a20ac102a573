# A machine with systemd, and both services where their units expect them; SERVICES is an image that has them.
ARG SERVICES
FROM ${SERVICES}
USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends dbus systemd systemd-sysv \
    && rm -rf /var/lib/apt/lists/* /var/lib/scripthut
COPY systemd/*.service /etc/systemd/system/
STOPSIGNAL SIGRTMIN+3
# As whoever starts systemd in a container must: it hands credentials to its units by mounts that it shares.
CMD ["sh", "-c", "mount --make-rshared / && exec /sbin/init"]
