//! Which machines: what `--machines auto` takes, and why not another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use crate::machines::agent::ELF;
use crate::machines::docker::{DockerConfig, DockerHost, OnProgress, Progress};
use crate::machines::host::HostMachines;
use crate::machines::namespace::{self, NamespaceConfig, NamespaceHost};
use crate::machines::templates::DEFAULT_TEMPLATE;
use crate::machines::{HostKind, MachineHost, Machines, TemplateReadiness};

/// Which machines to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Docker when its engine answers and an image can be had, else namespaces, else none.
    #[default]
    Auto,
    /// Containers of a Docker engine (DOCKER_HOST is honoured).
    Docker,
    /// Linux namespaces, no daemon.
    Namespace,
    /// Plain processes of this computer: no isolation at all.
    Host,
    /// The control plane alone; creating a sandbox answers 503.
    None,
}

/// The flags that choose machines.
#[derive(Debug, Clone, Args)]
pub(crate) struct MachineChoice {
    /// Where sandboxes live
    #[arg(
        long,
        env = "MIOSA_EMULATOR_MACHINES",
        value_enum,
        default_value = "auto",
        value_name = "KIND"
    )]
    pub(super) machines: Kind,

    /// Use this Docker image for a template
    #[arg(long, env = "MIOSA_EMULATOR_TEMPLATE_IMAGE", value_delimiter = ',', value_name = "TEMPLATE=IMAGE", value_parser = template_image)]
    pub(super) template_image: Vec<(String, String)>,
}

fn template_image(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(template, image)| !template.is_empty() && !image.is_empty())
        .map(|(template, image)| (template.to_owned(), image.to_owned()))
        .ok_or_else(|| "expected TEMPLATE=IMAGE".to_owned())
}

/// The word for a kind.
pub(super) fn name(kind: HostKind) -> &'static str {
    match kind {
        HostKind::Docker => "docker",
        HostKind::Namespace => "namespace",
        HostKind::Host => "host",
    }
}

/// The data directory: the one given, else the user's own.
pub(super) fn data_directory(given: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(dir) = given {
        return std::path::absolute(dir)
            .map_err(|error| Failure::data(format!("{}: {error}", dir.display())));
    }
    let under =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    under("XDG_DATA_HOME")
        .or_else(|| under("HOME").map(|home| home.join(".local/share")))
        .map(|dir| dir.join("miosa-emulator"))
        .ok_or_else(|| {
            Failure::data("neither XDG_DATA_HOME nor HOME is set; use --data DIR or --ephemeral")
        })
}

/// The Docker host, or why there is none.
pub(super) async fn docker(choice: &MachineChoice, owner: &str) -> Result<DockerHost, String> {
    let config = DockerConfig {
        image_overrides: choice.template_image.iter().cloned().collect::<BTreeMap<_, _>>(),
        progress: Some(progress()),
        ..DockerConfig::new(owner)
    };
    DockerHost::connect(config).await.map_err(|error| error.to_string())
}

/// The Docker host of a data directory that the caller holds, or why there is none.
async fn own_docker(choice: &MachineChoice, owner: &str) -> Result<DockerHost, String> {
    let host = docker(choice, owner).await?;
    if let Err(error) = host.sweep().await {
        tracing::warn!("what an earlier run has left could not be removed: {error}");
    }
    Ok(host)
}

/// The namespace host, or why there is none.
pub(super) async fn namespace(data: &Path) -> Result<NamespaceHost, String> {
    let config = NamespaceConfig {
        // A directory of its own: it is given to the ids that machines run under.
        data: data.join("namespace"),
        program: PathBuf::from("/proc/self/exe"),
        agent: ELF,
        processes: namespace::PROCESSES,
        init: namespace::agent_command(),
    };
    let host = NamespaceHost::open(config).await.map_err(|error| error.to_string())?;
    host.probe().await.map_err(|error| error.to_string())?;
    Ok(host)
}

/// The machines that were chosen.
///
/// # Errors
/// Exit code 5 when a kind was asked for by name and is not there.
pub(super) async fn choose(
    choice: &MachineChoice,
    data: &Path,
    owner: &str,
) -> Result<Machines, Failure> {
    let host: Arc<dyn MachineHost> = match choice.machines {
        Kind::None => return Ok(Machines::none("started with --machines none")),
        Kind::Host => Arc::new(HostMachines::open(data.join("host")).await.map_err(|why| Failure::machines(why.to_string()))?),
        Kind::Docker => Arc::new(own_docker(choice, owner).await.map_err(|why| {
            Failure::machines(format!("Docker was asked for and cannot be used: {why}. Without --machines docker, namespaces are used."))
        })?),
        Kind::Namespace => Arc::new(namespace(data).await.map_err(|why| {
            Failure::machines(format!("namespaces were asked for and cannot be used: {why}. `miosa-emulator doctor` says more."))
        })?),
        Kind::Auto => return Ok(auto(choice, data, owner).await),
    };
    Ok(Machines::new(host))
}

async fn auto(choice: &MachineChoice, data: &Path, owner: &str) -> Machines {
    let no_docker = match own_docker(choice, owner).await {
        Ok(host) => match host.template(DEFAULT_TEMPLATE).await {
            TemplateReadiness::Missing(why) => why,
            _ => return Machines::new(Arc::new(host)),
        },
        Err(why) => why,
    };
    match namespace(data).await {
        Ok(host) => {
            tracing::info!("Docker is not used ({no_docker}); sandboxes are Linux namespaces");
            Machines::new(Arc::new(host))
        }
        Err(no_namespace) => {
            tracing::warn!("no machines: Docker: {no_docker}; namespaces: {no_namespace}");
            Machines::none(format!("Docker: {no_docker}; namespaces: {no_namespace}"))
        }
    }
}

/// A bar for the first build of an image; nothing is drawn where standard error is no terminal.
fn progress() -> OnProgress {
    let bar = ProgressBar::hidden();
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {prefix} [{bar:20}] {wide_msg} {elapsed}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    Arc::new(move |progress: Progress| {
        tracing::debug!("{}: {}", progress.image, progress.text);
        if progress.ended {
            bar.finish_and_clear();
            return;
        }
        bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        bar.set_prefix(progress.image);
        if let Some((done, all)) = progress.steps {
            bar.set_length(all.into());
            bar.set_position(done.into());
        }
        bar.set_message(progress.text);
    })
}
