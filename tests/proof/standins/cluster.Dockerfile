# A whole Slurm cluster behind a login node's sshd, as the testbed starts it: tests/proof/cluster.py.
FROM scripthut-proof/debian:bookworm
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
    && apt-get update \
    && apt-get install -y --no-install-recommends \
        slurmctld slurmd slurmdbd slurm-client slurm-wlm-basic-plugins slurm-wlm-mysql-plugin munge mariadb-server \
        openssh-server openssh-client python3 procps tini \
    && rm -rf /var/lib/apt/lists/*
EXPOSE 22
WORKDIR /testbed
# Jobs leave orphans, which somebody must bury.
ENTRYPOINT ["tini", "--"]
CMD ["python3", "-m", "tests.proof.cluster"]
