//! What a container is made from: of a machine's specification, or of the container that it replaces.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, HealthConfig, HostConfig,
    HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum, SystemInfo,
};
use uuid::Uuid;

use super::labels;
use crate::machines::{Enforced, MachineSpec, Shape};

/// Where the agent is inside a machine.
pub const AGENT_PATH: &str = "/.miosa/agent";
/// The variable with the agent's secret.
pub const SECRET_VARIABLE: &str = "MIOSA_AGENT_SECRET";

/// Processes and threads that one machine may have.
const PIDS: i64 = 4096;
/// Machines end before the emulator and the engine when the host's memory is short.
const OOM_SCORE_ADJ: i64 = 500;
/// What the root of a machine may do. Of Docker's own set MKNOD, NET_RAW, AUDIT_WRITE are not given; SYS_PTRACE
/// never is: with it, a process could take the agent's streams.
const CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What the engine can hold a container to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The engine's CPUs; asking for more is refused by Docker.
    pub cpus: u32,
    /// Whether a CPU quota works.
    pub cpu: bool,
    /// Whether a memory limit works.
    pub memory: bool,
    /// Whether a limit of processes works.
    pub processes: bool,
}

impl Limits {
    /// Of what the engine says about itself.
    pub fn of(info: &SystemInfo) -> Self {
        Self {
            cpus: info.ncpu.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1).max(1),
            cpu: info.cpu_cfs_quota.unwrap_or(false),
            memory: info.memory_limit.unwrap_or(false),
            processes: info.pids_limit.unwrap_or(false),
        }
    }

    /// What a container of this shape is held to: billionths of a CPU, clamped to the engine's, and bytes.
    pub fn of_shape(self, shape: Shape) -> (Option<i64>, Option<i64>) {
        let cpus = i64::from(shape.vcpus.clamp(1, self.cpus));
        let memory = i64::from(shape.memory_mb) * 1024 * 1024;
        (self.cpu.then_some(cpus * 1_000_000_000), self.memory.then_some(memory))
    }
}

/// A container to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The machine.
    pub machine: Uuid,
    /// The operation that made the machine.
    pub operation: Uuid,
    /// See [`labels::GENERATION`].
    pub generation: u64,
    /// The image, by its id.
    pub image: String,
    /// The machine's own environment.
    pub env: BTreeMap<String, String>,
    /// The agent's secret in hex.
    pub secret: String,
    /// Its host name.
    pub hostname: String,
    /// A billionth of a CPU each.
    pub nano_cpus: Option<i64>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Processes.
    pub pids: Option<i64>,
}

impl Plan {
    /// Of a specification.
    pub fn new(spec: &MachineSpec, image: String, secret: String, limits: Limits) -> Self {
        let (nano_cpus, memory) = limits.of_shape(spec.shape);
        Self {
            machine: spec.id,
            operation: spec.operation,
            generation: 0,
            image,
            env: spec.env.clone(),
            secret,
            hostname: spec.hostname.clone(),
            nano_cpus,
            memory,
            pids: limits.processes.then_some(PIDS),
        }
    }

    /// Of the container that it replaces: the same machine, from another image.
    pub fn replacing(found: &ContainerInspectResponse, image: String) -> Option<Self> {
        let config = found.config.as_ref()?;
        let host = found.host_config.as_ref()?;
        let of = config.labels.as_ref()?;
        let generation: u64 = of.get(labels::GENERATION)?.parse().ok()?;
        let own = variables(of);
        let all = config.env.iter().flatten().filter_map(|line| line.split_once('='));
        let given = |value: Option<i64>| value.filter(|value| *value > 0);
        Some(Self {
            machine: of.get(labels::MACHINE)?.parse().ok()?,
            operation: of.get(labels::OPERATION)?.parse().ok()?,
            generation: generation + 1,
            image,
            env: all
                .filter(|(name, _)| own.iter().any(|own| own == name))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            secret: of.get(labels::SECRET)?.clone(),
            hostname: config.hostname.clone().unwrap_or_default(),
            nano_cpus: given(host.nano_cpus),
            memory: given(host.memory),
            pids: given(host.pids_limit),
        })
    }

    /// What the host holds this container to.
    pub fn enforced(&self) -> Enforced {
        enforced(self.nano_cpus, self.memory, self.pids)
    }

    /// The container's name.
    pub fn name(&self, owner: &str) -> String {
        labels::container_name(owner, self.machine, self.operation, self.generation)
    }

    /// What the engine is asked for.
    pub fn body(&self, owner: &str, network: &str) -> ContainerCreateBody {
        let mut env: Vec<String> =
            self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        env.push(format!("{SECRET_VARIABLE}={}", self.secret));
        ContainerCreateBody {
            image: Some(self.image.clone()),
            hostname: Some(self.hostname.clone()),
            user: Some("0:0".to_owned()),
            env: Some(env),
            entrypoint: Some([AGENT_PATH, "serve", "--linger"].map(str::to_owned).to_vec()),
            cmd: Some(Vec::new()),
            working_dir: Some("/workspace".to_owned()),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            // The agent's protocol: one pair of streams for the container's whole life, kept open by the engine.
            open_stdin: Some(true),
            stdin_once: Some(false),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            labels: Some(self.labels(owner)),
            host_config: Some(HostConfig {
                nano_cpus: self.nano_cpus,
                memory: self.memory,
                // The same number for memory and swap together: no swap.
                memory_swap: self.memory,
                pids_limit: self.pids,
                oom_score_adj: Some(OOM_SCORE_ADJ),
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                // Standard output is the agent's protocol: a log of it would fill the disk.
                log_config: Some(HostConfigLogConfig {
                    typ: Some("none".to_owned()),
                    config: None,
                }),
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::NO),
                    maximum_retry_count: None,
                }),
                network_mode: Some(network.to_owned()),
                init: Some(false),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn labels(&self, owner: &str) -> HashMap<String, String> {
        let variables: Vec<&String> = self.env.keys().collect();
        HashMap::from(
            [
                (labels::OWNER, owner.to_owned()),
                (labels::MACHINE, self.machine.to_string()),
                (labels::OPERATION, self.operation.to_string()),
                (labels::GENERATION, self.generation.to_string()),
                (labels::SECRET, self.secret.clone()),
                (labels::VARIABLES, serde_json::json!(variables).to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        )
    }
}

/// What a container is held to, of its numbers.
pub fn enforced(nano_cpus: Option<i64>, memory: Option<i64>, pids: Option<i64>) -> Enforced {
    let given = |value: Option<i64>, unit: i64| {
        value.filter(|value| *value > 0).and_then(|value| u32::try_from(value / unit).ok())
    };
    Enforced {
        vcpus: given(nano_cpus, 1_000_000_000),
        memory_mb: given(memory, 1024 * 1024),
        disk_mb: None,
        processes: given(pids, 1),
    }
}

/// The names of the machine's own variables, of a container's labels.
fn variables(labels: &HashMap<String, String>) -> Vec<String> {
    labels
        .get(labels::VARIABLES)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// What a snapshot's image is told, so that nothing of the machine stays in it.
///
/// A commit inherits the container's configuration. A variable without `=` takes it out of every container made from
/// the image (Docker Engine API, `ContainerConfig.Env`); labels can only be overwritten.
pub fn forgetting(of: &HashMap<String, String>, owner: &str, snapshot: Uuid) -> ContainerConfig {
    let mut env = variables(of);
    env.push(SECRET_VARIABLE.to_owned());
    let gone = [
        labels::MACHINE,
        labels::OPERATION,
        labels::GENERATION,
        labels::SECRET,
        labels::VARIABLES,
        labels::AGENT,
        labels::TOOLS,
    ];
    let mut labels: HashMap<String, String> =
        gone.iter().map(|key| ((*key).to_owned(), String::new())).collect();
    labels.insert(labels::OWNER.to_owned(), owner.to_owned());
    labels.insert(labels::SNAPSHOT.to_owned(), snapshot.to_string());
    ContainerConfig { env: Some(env), labels: Some(labels), ..ContainerConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::Base;

    fn plan(vcpus: u32) -> Plan {
        let spec = MachineSpec {
            id: Uuid::from_u128(1),
            operation: Uuid::from_u128(2),
            base: Base::Template("blank".to_owned()),
            shape: Shape { vcpus, memory_mb: 512, disk_mb: 1024 },
            env: BTreeMap::from([("TOKEN".to_owned(), "a=b".to_owned())]),
            hostname: "box".to_owned(),
        };
        let limits = Limits { cpus: 2, cpu: true, memory: true, processes: false };
        Plan::new(&spec, "sha256:x".to_owned(), "00".repeat(32), limits)
    }

    #[test]
    fn cpus_are_clamped_to_the_engine_and_what_it_cannot_hold_is_none() {
        let enforced = plan(64).enforced();
        assert_eq!(
            enforced,
            Enforced { vcpus: Some(2), memory_mb: Some(512), disk_mb: None, processes: None }
        );
    }

    #[test]
    fn no_machine_gets_a_port_a_log_or_the_right_to_trace() {
        let body = plan(1).body("owner", "net");
        let host = body.host_config.unwrap();
        assert!(host.port_bindings.is_none() && host.binds.is_none());
        assert_eq!(host.log_config.unwrap().typ.as_deref(), Some("none"));
        assert_eq!(host.memory, host.memory_swap);
        assert!(!host.cap_add.unwrap().iter().any(|cap| cap.contains("PTRACE")));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    }

    #[test]
    fn a_replacement_is_the_same_machine_in_the_next_generation() {
        let first = plan(1);
        let body = first.body("owner", "net");
        let found = ContainerInspectResponse {
            host_config: body.host_config,
            config: Some(ContainerConfig {
                hostname: body.hostname,
                labels: body.labels,
                env: body.env.map(|mut env| {
                    env.push("PATH=/bin".to_owned());
                    env
                }),
                ..ContainerConfig::default()
            }),
            ..ContainerInspectResponse::default()
        };
        let second = Plan::replacing(&found, "sha256:y".to_owned()).unwrap();
        let expected = Plan { generation: 1, image: "sha256:y".to_owned(), ..first };
        assert_eq!(second, expected);
    }

    #[test]
    fn a_snapshot_forgets_the_secret_and_the_machines_own_variables() {
        let of = plan(1).labels("owner");
        let config = forgetting(&of, "owner", Uuid::from_u128(9));
        assert_eq!(config.env, Some(vec!["TOKEN".to_owned(), SECRET_VARIABLE.to_owned()]));
        let labels = config.labels.unwrap();
        for (key, value) in of {
            let kept = labels.get(&key).unwrap();
            assert!(key == labels::OWNER || *kept != value || value.is_empty(), "{key} stays");
        }
    }
}
