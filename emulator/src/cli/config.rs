//! `config`: every setting with its default, as an environment file.

use clap::Args;

use super::Failure;

/// The file itself; a test holds it against the flags.
const DEFAULTS: &str = include_str!("defaults.env");

#[derive(Debug, Args)]
pub(crate) struct Config {}

impl Config {
    #[allow(clippy::unused_self)] // every subcommand has this face
    pub(super) fn run(self) -> Result<(), Failure> {
        super::say(DEFAULTS.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_defaults_file_names_every_setting_of_serve_with_its_default() {
        let cli = super::super::Cli::command();
        let serve = cli.find_subcommand("serve").unwrap();
        for arg in serve.get_arguments() {
            let Some(env) = arg.get_env().and_then(|name| name.to_str()) else {
                assert!(
                    matches!(arg.get_id().as_str(), "help" | "version" | "defect"),
                    "{} has no variable",
                    arg.get_id()
                );
                continue;
            };
            let default = arg
                .get_default_values()
                .first()
                .and_then(|value| value.to_str())
                .unwrap_or_default();
            let default = if arg.get_action().takes_values() { default } else { "false" };
            let line = format!("#{env}={default}");
            let documented = super::DEFAULTS.lines().any(|known| known == line);
            assert!(documented, "defaults.env lacks the line {line}");
        }
    }
}
