//! `doctor`: which machines would be used, what they cannot enforce, and why.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::hosts::{self, Kind, MachineChoice};
use crate::machines::templates::{BUILT_IN, DEFAULT_TEMPLATE};
use crate::machines::{MachineHost, NoteLevel, TemplateReadiness};

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The data directory that would be used
    #[arg(long, env = "MIOSA_EMULATOR_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    #[command(flatten)]
    machines: MachineChoice,
}

impl Doctor {
    pub(super) fn run(self) -> Result<(), Failure> {
        super::wait_for(self.examine())
    }

    async fn examine(self) -> Result<(), Failure> {
        // Probing must not disturb an emulator that runs on the real directory.
        let scratch = tempfile::tempdir().map_err(|error| Failure::data(error.to_string()))?;
        let data = hosts::data_directory(self.data.as_ref())?;
        super::say(format_args!("data {}", data.display()))?;
        let docker = match hosts::docker(&self.machines, "doctor").await {
            Ok(host) => show("docker", &host).await?,
            Err(why) => missing("docker", &why)?,
        };
        let namespace = match hosts::namespace(scratch.path()).await {
            Ok(host) => show("namespace", &host).await?,
            Err(why) => missing("namespace", &why)?,
        };
        let used = match self.machines.machines {
            Kind::Auto if docker => "docker",
            Kind::Auto if namespace => "namespace",
            Kind::Docker if docker => "docker",
            Kind::Namespace if namespace => "namespace",
            Kind::Host => "host (no isolation)",
            Kind::None => "none, as asked",
            Kind::Auto => {
                super::say("\nserve would use: none; creating a sandbox answers 503")?;
                return Err(Failure::machines(
                    "no machines that could be used; the reasons stand above",
                ));
            }
            Kind::Docker | Kind::Namespace => {
                super::say("\nserve would refuse to start with these machines")?;
                return Err(Failure::machines(
                    "the machines that were asked for cannot be used; the reasons stand above",
                ));
            }
        };
        super::say(format_args!("\nserve would use: {used}"))
    }
}

fn missing(kind: &str, why: &str) -> Result<bool, Failure> {
    super::say(format_args!("\n{kind}\n  ✗ cannot be used: {why}")).map(|()| false)
}

/// Prints what a host says of itself; whether it can start the default template.
async fn show(kind: &str, host: &dyn MachineHost) -> Result<bool, Failure> {
    super::say(format_args!("\n{kind}"))?;
    for note in host.notes().await {
        let mark = match note.level {
            NoteLevel::Ok => "✓",
            NoteLevel::Limited => "!",
            NoteLevel::Broken => "✗",
        };
        super::say(format_args!("  {mark} {:<10} {}", note.topic, note.text))?;
    }
    let mut usable = true;
    for template in BUILT_IN {
        let (mark, text) = match host.template(template.id).await {
            TemplateReadiness::FastReady => ("✓", "ready".to_owned()),
            TemplateReadiness::ColdBootOnly => ("!", "built at its first use".to_owned()),
            TemplateReadiness::Missing(why) => {
                usable &= template.id != DEFAULT_TEMPLATE;
                ("✗", why)
            }
        };
        super::say(format_args!("  {mark} template   {}: {text}", template.id))?;
    }
    Ok(usable)
}
