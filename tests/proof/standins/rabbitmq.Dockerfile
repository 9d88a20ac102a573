# Stands for rabbitmq:4 and, with its plugin switched on, for rabbitmq:4-management.
FROM scripthut-proof/debian:sid
RUN apt-get update \
    && apt-get install -y --no-install-recommends rabbitmq-server util-linux \
    && rm -rf /var/lib/apt/lists/* /var/lib/rabbitmq/.erlang.cookie
ENV RABBITMQ_LOGS=- LANG=C.UTF-8
COPY rabbitmq-entrypoint /usr/local/bin/docker-entrypoint.sh
VOLUME /var/lib/rabbitmq
EXPOSE 5672 15672
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["/usr/lib/rabbitmq/bin/rabbitmq-server"]
