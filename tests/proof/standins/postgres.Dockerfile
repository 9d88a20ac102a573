# Stands for postgres:18.
FROM scripthut-proof/debian:sid
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-18 util-linux \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/*
ENV PATH=/usr/lib/postgresql/18/bin:$PATH PGDATA=/var/lib/postgresql/18/docker LANG=C.UTF-8
COPY postgres-entrypoint /usr/local/bin/docker-entrypoint.sh
VOLUME /var/lib/postgresql
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
