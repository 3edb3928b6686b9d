//! Many containers at once, by Compose and by Swarm.

use crate::shell::{Shell, needs, user};

#[test]
fn compose() {
    user(|sh| {
        let found = std::process::Command::new("docker-compose").arg("version").output();
        needs(found.is_ok(), "docker-compose");
        let file = "services:\n  web:\n    image: bb\n    command: [sh, -c, 'while :; do echo hello | nc -l -p 80; done']\n\
            \x20   init: true\n    healthcheck: {test: [CMD, test, -e, /bin/sh], interval: 1s}\n\
            \x20 client:\n    image: bb\n    command: [sh, -c, 'until nc -w 5 web 80 | grep hello >/data/got; do sleep 0.1; done; echo $$WHO >>/data/got; sleep 1000']\n\
            \x20   environment: {WHO: me}\n    volumes: ['data:/data']\n    init: true\n    depends_on: {web: {condition: service_healthy}}\n\
            volumes: {data: {}}\n";
        sh.ok(&format!("mkdir /tmp/@; cat >/tmp/@/compose.yaml <<'END'\n{file}END"));
        let compose = |line: &str| sh.ok(&format!("cd /tmp/@ && docker-compose --ansi never {line}"));
        compose("up -d");
        sh.until("cd /tmp/@ && docker-compose exec -T client cat /data/got", "hello\nme");
        compose("up -d --scale web=3");
        sh.until("cd /tmp/@ && docker-compose ps -q web | wc -l", "3");
        compose("stop -t 0 client");
        sh.run("cd /tmp/@ && docker-compose ps -aq --status exited | wc -l").prints("1");
        compose("down -t 0 -v");
        sh.run("docker ps -aq --filter label=com.docker.compose.project=@ | wc -l").prints("0");
        sh.ok("rm -r /tmp/@");
    });
}

/// How many tasks of a service run.
fn running(sh: &Shell, count: usize) {
    sh.until(
        "docker service ps @ --filter desired-state=running --format '{{.CurrentState}}' | grep -c ^Running",
        &count.to_string(),
    );
}

#[test]
fn swarm() {
    user(|sh| {
        sh.ok("docker swarm init --advertise-addr 127.0.0.1");
        sh.ok("docker service create -d --name @ --replicas 5 --restart-delay 100ms --stop-grace-period 1s bb sh -c 'echo v1; sleep 100000'");
        running(sh, 5);
        sh.ok("docker service scale -d @=3");
        sh.until("docker ps -q --filter name=@ | wc -l", "3"); // the others have had their time to end
        // One that is killed is replaced.
        let first = sh.ok("docker ps -q --filter name=@ | head -n 1");
        sh.ok(&format!("docker kill {first}"));
        sh.until(&format!("docker ps -q --filter name=@ | grep -vc {first}; true"), "3");
        sh.ok("docker service update -d --update-delay 0s --args 'sh -c \"echo v2; sleep 100000\"' @");
        sh.until("docker service inspect -f '{{.UpdateStatus.State}}' @", "completed");
        running(sh, 3);
        let kept = "docker ps -q --filter name=@ | xargs docker inspect -f '{{.Args}}' | grep -c v2; true";
        sh.until(kept, "3");
        sh.ok("docker node update --availability drain $(docker node ls -q)");
        sh.until("docker ps -q --filter name=@ | wc -l", "0");
        sh.ok("docker service rm @");
        sh.ok("docker swarm leave --force");
    });
}
