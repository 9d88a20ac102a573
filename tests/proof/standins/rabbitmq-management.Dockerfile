# Stands for rabbitmq:4-management, which the test fixtures ask for.
FROM scripthut-proof/rabbitmq
RUN rabbitmq-plugins enable --offline rabbitmq_management
