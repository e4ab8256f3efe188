# The toolbox's image: what the temporary task runs. Fargate keeps no images, so each start pulls all of it.
#
#   docker build --secret id=ca,src=FILE --build-arg RDS_CA_BUNDLE=URL -t tracker-toolbox .
#
# `ca` (optional): the certificates that the way to PyPI is checked with, where a proxy opens TLS. It stays out of the image.
# RDS_CA_BUNDLE (optional): where the build fetches Amazon's certificates for RDS. They end up in /etc/ssl/rds-ca.pem, since
# a task in a private subnet cannot fetch them. They do not join the system's store: what the api does not trust must not
# look trusted here, and a default sslrootcert would turn psql's sslmode=require into verify-ca. A URL and not a file of the
# context: everything in the context is part of the image's tag, and these change on their own.

# `aws` is PyPI's version 1: it shares Python, the lock and the models with the toolbox. It gets no new services but security
# updates until July 2027 (AWS's 'CLI v1 Maintenance Mode Announcement'). Version 2 is not on PyPI; Debian's is 121 MB
# installed, without what it needs, and has models of its own.

FROM debian:trixie-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3-venv

# pip works from outside: neither it nor setuptools is ever in /opt/toolbox. No package may run code of its own to build.
RUN python3 -m venv --without-pip /opt/toolbox && python3 -m venv /opt/pip
COPY locks/image.txt /tmp/image.txt
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    /opt/pip/bin/pip --python /opt/toolbox/bin/python install --no-cache-dir --no-compile --only-binary :all: \
      --require-hashes -r /tmp/image.txt

# Services that someone may ask about in an incident, each in its newest version. The models of all 430 are 18 MB, and are
# there once more, uncompressed (110 MB), in awscli, which brings its own botocore: it reads boto3's instead. To `aws` any
# other service is an invalid choice. sagemaker-runtime, sdb and sms-voice are here because it does not start without.
ARG AWS_SERVICES="acm apigateway apigatewayv2 appconfig appconfigdata application-autoscaling autoscaling backup \
cloudformation cloudfront cloudtrail cloudwatch codebuild codedeploy codepipeline cognito-idp config dynamodb ec2 ecr ecs \
efs elasticache elb elbv2 events health iam kafka kinesis kms lambda logs mq network-firewall opensearch organizations pi \
ram rds resource-groups resourcegroupstaggingapi route53 route53resolver s3 s3control sagemaker-runtime scheduler \
sdb secretsmanager service-quotas servicediscovery ses sesv2 signin sms-voice sns sqs ssm ssm-incidents sso sso-oidc \
stepfunctions sts support synthetics vpc-lattice wafv2 xray"
RUN cd /opt/toolbox/lib/python3.13/site-packages \
    && mv botocore/data /tmp/models && mkdir botocore/data && cp /tmp/models/*.json botocore/data/ \
    && for service in $AWS_SERVICES; do \
         newest=$(ls "/tmp/models/$service" | sort | tail -n 1) && test -n "$newest" || exit 1; \
         mkdir "botocore/data/$service" && cp -r "/tmp/models/$service/$newest" "botocore/data/$service/" || exit 1; \
       done \
    && for directory in awscli/examples/*/; do \
         case " $AWS_SERVICES configservice configure deploy s3api " in \
           *" $(basename "$directory") "*) ;; \
           *) rm -r "$directory" ;; \
         esac; \
       done \
    && rm -r awscli/botocore/data \
    && ln -s ../../botocore/data awscli/botocore/data \
    && find . -type d \( -name tests -o -name test \) -prune -exec rm -r {} + \
    && rm -r /opt/toolbox/bin/*

COPY toolbox /opt/toolbox/src/toolbox
# Isolated (-I): the api's PYTHONPATH must reach neither. What the sources hold cannot change: bytecode need not look.
RUN ln -s /usr/bin/python3 /opt/toolbox/bin/python \
    && echo /opt/toolbox/src > /opt/toolbox/lib/python3.13/site-packages/tracker-toolbox.pth \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/toolbox/lib /opt/toolbox/src \
    && printf '#!/bin/sh\nexec /opt/toolbox/bin/python -I -m toolbox "$@"\n' > /opt/toolbox/bin/toolbox \
    && printf '#!/bin/sh\nexec /opt/toolbox/bin/python -I -m awscli "$@"\n' > /opt/toolbox/bin/aws \
    && chmod +x /opt/toolbox/bin/toolbox /opt/toolbox/bin/aws \
    && /opt/toolbox/bin/toolbox --version && /opt/toolbox/bin/aws --version

# psql without its package, which needs all of perl for the choice between versions.
RUN cd /tmp && apt-get download postgresql-client-17 && dpkg-deb -x postgresql-client-17_*.deb psql

ARG RDS_CA_BUNDLE=
RUN --mount=type=secret,id=ca \
    mkdir /tmp/rds; if [ -z "$RDS_CA_BUNDLE" ]; then exit 0; fi; \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi; \
    python3 -c 'import ssl, sys, urllib.request; \
pem = urllib.request.urlopen(sys.argv[1], timeout=60).read().decode("ascii"); \
ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem); \
open("/tmp/rds/rds-ca.pem", "w").write(pem)' "$RDS_CA_BUNDLE"

# What each tool adds in MB compressed, with the libraries that only it needs:
#
#   aws         9.7  the runbook's own lines; 4.3 are the models, which boto3 needs for its services anyway, 0.7 examples
#   dig         3.0  which resolver answered what; `host` comes with it
#   curl        2.8  what the api answers, by hand
#   ip, ss      1.8  addresses, routes; who is connected to what, with queues and retransmissions
#   groff       1.4  `aws ... help`, which without it is an error and not a text
#   vim-tiny    0.9  to change a script in the task
#   psql        0.5  with pg_isready
#   openssl     0.4  s_client: a server's certificates; ca-certificates needs it anyway
#   jq          0.4  the JSON of `aws`, `ip -j` and `toolbox --json`
#   ps, top     0.3  procps
#   redis-cli   0.3  without redis-check-* and redis-benchmark, which are 2.8
#   less        0.1  psql's and a person's pager
#   traceroute  0.05 where a way ends; mtr would be 0.2
#   nc          0.02 is the port open
#
# The others, of 92 MB in all: Debian 30, Python 11, the toolbox and its packages 25, libraries that several share 4.
FROM debian:trixie-slim
RUN printf 'path-exclude=%s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/info/*' '/usr/share/locale/*' \
      '/usr/share/lintian/*' '/usr/share/bug/*' '/usr/share/vim/*/doc/*' '/usr/bin/redis-check-*' \
      /usr/bin/redis-benchmark \
      > /etc/dpkg/dpkg.cfg.d/toolbox \
    && echo 'path-include=/usr/share/doc/*/copyright' >> /etc/dpkg/dpkg.cfg.d/toolbox \
    && export DEBIAN_FRONTEND=noninteractive && apt-get update \
    && apt-get install -y --no-install-recommends \
         python3 libpq5 libreadline8t64 redis-tools curl ca-certificates openssl bind9-dnsutils jq netcat-openbsd traceroute \
         iproute2 procps less vim-tiny groff-base \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* /var/log/*
COPY --from=build /tmp/psql/usr/lib/postgresql/17/bin/psql /tmp/psql/usr/lib/postgresql/17/bin/pg_isready /usr/local/bin/
COPY --from=build /tmp/rds/ /etc/ssl/
COPY --from=build /opt/toolbox /opt/toolbox
COPY entrypoint.sh /usr/local/bin/entrypoint.sh
RUN ln -s /opt/toolbox/bin/toolbox /opt/toolbox/bin/aws /usr/local/bin/ && mkdir -p /scripts
ENV TOOLBOX_TASK=1 LANG=C.UTF-8
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
