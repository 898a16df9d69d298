//! Health checks of images that everybody uses, by their own tools.
//!
//! Source: the documentation and entry points of the images. While a database initializes itself, it listens on its
//! socket alone; so all checks of databases go over TCP, and pass only when it really serves.

use caelum_plugin_syntax::image::ImageName;

use crate::test_command::{Question, TestCommand, check};
use caelum_plugin_component::Tools;

use crate::Tool;

/// What is known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// This check fits.
    Check(TestCommand),
    /// The image brings a health check of its own.
    BringsOne,
    /// It runs something that can be watched, and no check is known that surely works.
    NoCheck,
    /// Nothing is known.
    Nothing,
}

/// Images outside of the official ones that bring a health check.
const BRING_ONE: [&str; 9] = [
    "itzg/minecraft-server",
    "pihole/pihole",
    "vaultwarden/server",
    "gitlab/gitlab-ce",
    "gitlab/gitlab-ee",
    "plexinc/pms-docker",
    "jellyfin/jellyfin",
    "localstack/localstack",
    "adguard/adguardhome",
];

/// Images that are what an official one is, with additions.
const KIN: [(&str, &str); 9] = [
    ("postgis/postgis", "postgres"),
    ("timescale/timescaledb", "postgres"),
    ("timescale/timescaledb-ha", "postgres"),
    ("pgvector/pgvector", "postgres"),
    ("redislabs/redismod", "redis"),
    ("redis/redis-stack", "redis"),
    ("redis/redis-stack-server", "redis"),
    ("valkey/valkey", "valkey"),
    ("nginxinc/nginx-unprivileged", "nginx"),
];

/// Returns what is known of an image. `port` is the first TCP port that the service declares; `command` what it runs
/// instead of the image's own command.
pub(crate) fn knowledge(image: &ImageName, port: Option<u16>, command: &str) -> Knowledge {
    if BRING_ONE.contains(&image.repository.as_str()) {
        return Knowledge::BringsOne;
    }
    let kin = KIN.iter().find(|(name, _)| *name == image.repository).map(|(_, kin)| *kin);
    let Some(name) = kin.or_else(|| image.official()) else { return other(image) };
    let version = image.tag_version();
    let major = version.first().copied();
    let alpine = image.tag_has("alpine");
    let check = match name {
        "postgres" => Some(TestCommand::shell(
            "pg_isready -q -h 127.0.0.1 -U \"${POSTGRES_USER:-postgres}\" -d \"${POSTGRES_DB:-${POSTGRES_USER:-postgres}}\"",
        )),
        "mysql" => Some(TestCommand::exec(["mysqladmin", "ping", "-h", "127.0.0.1", "--silent"])),
        // From 11 on the programs are called mariadb-…; up to 10 both names are there.
        "mariadb" => Some(match major {
            Some(0..=10) => {
                TestCommand::exec(["mysqladmin", "ping", "-h", "127.0.0.1", "--silent"])
            }
            _ => TestCommand::exec(["mariadb-admin", "ping", "-h", "127.0.0.1", "--silent"]),
        }),
        // With a password, or over TLS alone, a bare ping is refused.
        "redis" | "valkey"
            if ["requirepass", "tls-port", "redis.conf", "valkey.conf"]
                .iter()
                .any(|word| command.contains(word)) =>
        {
            None
        }
        "redis" => Some(TestCommand::shell("redis-cli ping | grep -q PONG")),
        "valkey" => Some(TestCommand::shell("valkey-cli ping | grep -q PONG")),
        "mongo" => {
            let shell = if matches!(major, Some(0..=4)) { "mongo" } else { "mongosh" };
            let quit = "quit(db.adminCommand({ping: 1}).ok ? 0 : 1)";
            Some(TestCommand::exec([shell, "--quiet", "--eval", quit]))
        }
        "rabbitmq" => Some(TestCommand::exec(["rabbitmq-diagnostics", "-q", "ping"])),
        // From 8 on it wants TLS and a password.
        "elasticsearch" if matches!(major, Some(0..=7)) => {
            let url = "http://127.0.0.1:9200/_cluster/health?local=true";
            Some(TestCommand::exec(["curl", "-fsS", "-o", "/dev/null", url]))
        }
        "influxdb" if major == Some(2) => Some(TestCommand::exec(["influx", "ping"])),
        "memcached" => listens(port.unwrap_or(11211), alpine),
        "httpd" => listens(port.unwrap_or(80), alpine),
        "nginx" => listens(port.unwrap_or(if kin.is_some() { 8080 } else { 80 }), alpine),
        "elasticsearch" | "influxdb" | "kibana" | "logstash" | "cassandra" | "neo4j"
        | "couchdb" | "zookeeper" | "wordpress" | "nextcloud" | "ghost" | "drupal" | "joomla"
        | "sonarqube" | "registry" | "traefik" | "caddy" | "haproxy" | "nats" | "vault"
        | "consul" | "adminer" | "mongo-express" | "phpmyadmin" | "tomcat" => None,
        _ => return Knowledge::Nothing,
    };
    check.map_or(Knowledge::NoCheck, Knowledge::Check)
}

/// Whether a port accepts connections, asked with what Debian's or Alpine's images have.
fn listens(port: u16, alpine: bool) -> Option<TestCommand> {
    let tools = Tools { bash: !alpine, nc: alpine, ..Tools::default() };
    check(&Question::Tcp, port, tools, Tool::Auto, 5)
}

fn other(image: &ImageName) -> Knowledge {
    match (image.registry.as_deref(), image.repository.as_str()) {
        (None | Some("docker.io"), "grafana/grafana" | "grafana/grafana-oss") => {
            Knowledge::Check(TestCommand::exec([
                "wget",
                "-q",
                "-O",
                "/dev/null",
                "http://127.0.0.1:3000/api/health",
            ]))
        }
        (None | Some("docker.io" | "quay.io"), "prom/prometheus" | "prometheus/prometheus") => {
            Knowledge::Check(TestCommand::exec([
                "wget",
                "-q",
                "-O",
                "/dev/null",
                "http://127.0.0.1:9090/-/healthy",
            ]))
        }
        _ => Knowledge::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(image: &str, command: &str) -> Knowledge {
        knowledge(&ImageName::parse(image).expect("is a name"), None, command)
    }

    fn line(image: &str) -> String {
        match known(image, "") {
            Knowledge::Check(test) => test.dockerfile(),
            other => panic!("{image}: {other:?}"),
        }
    }

    #[test]
    fn databases_are_asked_over_tcp_with_the_tools_of_their_version() {
        assert!(line("postgres:16-alpine").contains("pg_isready -q -h 127.0.0.1"));
        assert!(line("postgis/postgis:16-3.4").contains("pg_isready"));
        assert!(line("mariadb:10.6.4-focal").contains("mysqladmin"));
        assert!(line("mariadb:11").contains("mariadb-admin"));
        assert!(line("mariadb").contains("mariadb-admin"));
        assert!(line("mongo:4.2.0").starts_with("[\"mongo\","));
        assert!(line("mongo").starts_with("[\"mongosh\","));
    }

    #[test]
    fn where_nothing_surely_works_nothing_is_proposed() {
        assert_eq!(known("redis:7", "redis-server --requirepass x"), Knowledge::NoCheck);
        assert_eq!(known("elasticsearch:8.12.0", ""), Knowledge::NoCheck);
        assert_eq!(known("example.com/team/postgres", ""), Knowledge::Nothing);
        assert_eq!(known("pihole/pihole:latest", ""), Knowledge::BringsOne);
        assert!(line("nginx:1.27-alpine").contains("\"nc\""));
        assert!(line("nginx").contains("/dev/tcp/127.0.0.1/80"));
    }
}
