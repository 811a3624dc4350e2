//! The images that machines start from: the template's own, and from it one with the agent inside.
//!
//! The agent goes into a derived image once per base, keyed by both; the first use of a template may build or pull
//! its base. What a template promises is looked up inside the image, and not believed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ImageInspect;
use bollard::query_parameters::{BuildImageOptionsBuilder, CreateImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::engine::{ACT, ASK, COPY, Failed, bounded};
use super::plan::AGENT_PATH;
use super::{labels, probe};
use crate::machines::templates::{self, DEFAULT_IMAGE};
use crate::machines::{MachineError, TemplateReadiness};

/// How the default image is made; `scripts/images` builds from the same file.
pub const DOCKERFILE: &str = include_str!("../../../images/sandbox.Dockerfile");

/// A build or a pull that says nothing for this long has failed.
const SILENCE: Duration = Duration::from_secs(300);
/// How long a failure to get an image is believed before a template counts as obtainable again.
const FAILURE_HOLDS: Duration = Duration::from_secs(60);

/// A step of building or pulling an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The image.
    pub image: String,
    /// What is being done, in words; empty once the image is there or has failed.
    pub text: String,
    /// Steps done and steps in all, where they can be told.
    pub steps: Option<(u32, u32)>,
    /// Whether this is the last report for this image.
    pub ended: bool,
}

/// Who hears of [`Progress`]. It must return at once.
pub type OnProgress = std::sync::Arc<dyn Fn(Progress) + Send + Sync>;

/// The images of one engine.
pub struct Images {
    docker: Docker,
    owner: String,
    overrides: BTreeMap<String, String>,
    agent: Bytes,
    agent_hash: String,
    progress: Option<OnProgress>,
    /// One maker at a time: two creates of a cold template build once.
    making: tokio::sync::Mutex<()>,
    /// Tools by image id.
    tools: Mutex<HashMap<String, BTreeSet<String>>>,
    /// When and why an image could not be had.
    failures: Mutex<HashMap<String, (Instant, String)>>,
}

/// A template on this engine.
struct Wanted {
    template: String,
    image: String,
    tools: &'static [&'static str],
}

impl Wanted {
    /// An image that stands for itself and promises nothing.
    fn image(image: &str) -> Self {
        Self { template: image.to_owned(), image: image.to_owned(), tools: &[] }
    }
}

impl Images {
    /// Of an engine.
    pub fn new(
        docker: Docker,
        owner: String,
        overrides: BTreeMap<String, String>,
        agent: Bytes,
        progress: Option<OnProgress>,
    ) -> Self {
        let agent_hash = labels::hash(&[&agent], 16);
        Self {
            docker,
            owner,
            overrides,
            agent,
            agent_hash,
            progress,
            making: tokio::sync::Mutex::default(),
            tools: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// The hash of the agent that goes into images.
    pub fn agent_hash(&self) -> &str {
        &self.agent_hash
    }

    /// A tar of the agent where it belongs, to be unpacked at `/`.
    pub fn agent_tar(&self) -> Result<Bytes, MachineError> {
        tar(&[(AGENT_PATH.trim_start_matches('/'), &self.agent, 0o755)])
    }

    /// Held while nothing may be built or removed beside.
    pub async fn exclusive(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.making.lock().await
    }

    fn wanted(&self, template: &str) -> Result<Wanted, MachineError> {
        let built_in = templates::find(template);
        let id = built_in.map_or(template, |built_in| built_in.id);
        let image = self
            .overrides
            .get(id)
            .map(String::as_str)
            .or(built_in.map(|built_in| built_in.image))
            .ok_or_else(|| MachineError::TemplateMissing {
                template: template.to_owned(),
                reason: "no image is known for it; --template-image ID=IMAGE names one".to_owned(),
            })?;
        Ok(Wanted {
            template: id.to_owned(),
            image: image.to_owned(),
            tools: built_in.map_or(&[], |built_in| built_in.tools),
        })
    }

    /// Whether the template can be started, without starting it.
    pub async fn readiness(&self, template: &str) -> TemplateReadiness {
        match self.wanted(template) {
            Ok(wanted) => self.judge(&wanted).await,
            Err(MachineError::TemplateMissing { reason, .. }) => TemplateReadiness::Missing(reason),
            Err(error) => TemplateReadiness::Missing(error.to_string()),
        }
    }

    /// Whether an image can be started from, without starting it: what is not there may be pulled.
    pub async fn image_readiness(&self, image: &str) -> TemplateReadiness {
        self.judge(&Wanted::image(image)).await
    }

    async fn judge(&self, wanted: &Wanted) -> TemplateReadiness {
        match self.look(wanted).await {
            Ok(readiness) => readiness,
            Err(MachineError::TemplateMissing { reason, .. }) => TemplateReadiness::Missing(reason),
            Err(error) => TemplateReadiness::Missing(error.to_string()),
        }
    }

    async fn look(&self, wanted: &Wanted) -> Result<TemplateReadiness, MachineError> {
        let Some(base) = self.inspect(&wanted.image).await? else {
            return Ok(match self.recent_failure(&wanted.image) {
                Some(why) => TemplateReadiness::Missing(why),
                None => TemplateReadiness::ColdBootOnly,
            });
        };
        self.check(wanted, &base).await?;
        Ok(TemplateReadiness::FastReady)
    }

    /// The id of an image with the template's files and the agent; builds and pulls what is missing.
    pub async fn ready(&self, template: &str) -> Result<String, MachineError> {
        self.make_ready(self.wanted(template)?).await
    }

    /// The same for any image that the engine has or can pull.
    pub async fn ready_image(&self, image: &str) -> Result<String, MachineError> {
        self.make_ready(Wanted::image(image)).await
    }

    async fn make_ready(&self, wanted: Wanted) -> Result<String, MachineError> {
        let mut base = self.inspect(&wanted.image).await?;
        if let Some(derived) = match &base {
            Some(base) => self.inspect(&self.derived_name(&id(base)?)).await?,
            None => None,
        } {
            check_tools(&wanted, &labelled_tools(&derived))?;
            return id(&derived);
        }
        let _making = self.making.lock().await;
        // Somebody may have made it meanwhile.
        if base.is_none() {
            base = self.inspect(&wanted.image).await?;
        }
        let base = match base {
            Some(base) => base,
            None => self.obtain(&wanted).await?,
        };
        self.check(&wanted, &base).await?;
        self.derive(&base).await
    }

    /// Refuses an image that cannot be the template.
    async fn check(&self, wanted: &Wanted, base: &ImageInspect) -> Result<(), MachineError> {
        let missing = |reason: String| MachineError::TemplateMissing {
            template: wanted.template.clone(),
            reason,
        };
        let here = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        if let Some(other) =
            base.architecture.as_deref().filter(|arch| !arch.is_empty() && *arch != here)
        {
            return Err(missing(format!(
                "the image {} is for {other}, this emulator carries an agent for {here}",
                wanted.image
            )));
        }
        if is_snapshot(base) {
            return Err(missing(format!(
                "{} is a sandbox's snapshot; a template or a sandbox names those",
                wanted.image
            )));
        }
        if let Some(volumes) = base
            .config
            .as_ref()
            .and_then(|config| config.volumes.as_ref())
            .filter(|volumes| !volumes.is_empty())
        {
            return Err(missing(format!(
                "the image {} declares volumes ({}): no snapshot would hold what is in them",
                wanted.image,
                volumes.join(", ")
            )));
        }
        let tools = self.tools_of(base).await?;
        check_tools(wanted, &tools)
    }

    /// Which programs of all templates the image has, looked up once.
    async fn tools_of(&self, base: &ImageInspect) -> Result<BTreeSet<String>, MachineError> {
        let image = id(base)?;
        let known = |tools: &Mutex<HashMap<_, BTreeSet<String>>>| {
            tools.lock().ok().and_then(|tools| tools.get(&image).cloned())
        };
        if let Some(tools) = known(&self.tools) {
            return Ok(tools);
        }
        let tools = match self.inspect(&self.derived_name(&image)).await? {
            Some(derived) => labelled_tools(&derived),
            None => probe::tools(&self.docker, &self.owner, base, &image).await?,
        };
        if let Ok(mut all) = self.tools.lock() {
            all.insert(image, tools.clone());
        }
        Ok(tools)
    }

    fn derived_name(&self, base: &str) -> String {
        let key = labels::hash(&[self.agent_hash.as_bytes(), base.as_bytes()], 32);
        format!("{}:{key}", labels::AGENT_REPOSITORY)
    }

    /// Puts the agent into an image.
    async fn derive(&self, base: &ImageInspect) -> Result<String, MachineError> {
        let base_id = id(base)?;
        let name = self.derived_name(&base_id);
        if let Some(there) = self.inspect(&name).await? {
            return id(&there);
        }
        let tools = self.tools_of(base).await?.into_iter().collect::<Vec<_>>().join(",");
        let dockerfile = format!("FROM {base_id}\nCOPY agent {AGENT_PATH}\nWORKDIR /workspace\n");
        let context =
            tar(&[("Dockerfile", dockerfile.as_bytes(), 0o644), ("agent", &self.agent, 0o755)])?;
        let labels = HashMap::from([
            (labels::OWNER, self.owner.as_str()),
            (labels::AGENT, self.agent_hash.as_str()),
            (labels::BASE, base_id.as_str()),
            (labels::TOOLS, tools.as_str()),
        ]);
        let options = BuildImageOptionsBuilder::default()
            .t(&name)
            .labels(&labels)
            .rm(true)
            .forcerm(true)
            .build();
        let steps = self
            .docker
            .build_image(options, None, Some(bollard::body_full(context)))
            .map(|step| step.map(|step| step.stream));
        follow("putting the agent into an image", ACT, steps, |_| ()).await?;
        let made = self.inspect(&name).await?;
        id(&made.ok_or_else(|| MachineError::Host(format!("Docker built {name} and lost it")))?)
    }

    /// Builds the default image, pulls any other.
    async fn obtain(&self, wanted: &Wanted) -> Result<ImageInspect, MachineError> {
        let image = &wanted.image;
        tracing::info!(image, "an image is missing: it is made once");
        let outcome =
            if image == DEFAULT_IMAGE { self.build(image).await } else { self.pull(image).await };
        self.report(image, String::new(), None, true);
        let remember = |why: Option<String>| {
            if let Ok(mut failures) = self.failures.lock() {
                match why {
                    Some(why) => failures.insert(image.clone(), (Instant::now(), why)),
                    None => failures.remove(image),
                };
            }
        };
        if let Err(failed) = outcome {
            let advice = if image == DEFAULT_IMAGE {
                "; scripts/images makes it where no registry can be reached"
            } else {
                ""
            };
            let reason = format!("the image {image} could not be had: {failed}{advice}");
            remember(Some(reason.clone()));
            return Err(MachineError::TemplateMissing {
                template: wanted.template.clone(),
                reason,
            });
        }
        remember(None);
        self.inspect(image)
            .await?
            .ok_or_else(|| MachineError::Host(format!("Docker made {image} and lost it")))
    }

    async fn build(&self, image: &str) -> Result<(), Failed> {
        let context = tar(&[("Dockerfile", DOCKERFILE.as_bytes(), 0o644)])
            .map_err(|error| Failed::Broken("packing the Dockerfile", error.to_string()))?;
        let options = BuildImageOptionsBuilder::default().t(image).rm(true).forcerm(true).build();
        let steps = self
            .docker
            .build_image(options, None, Some(bollard::body_full(context)))
            .map(|step| step.map(|step| step.stream.or(step.status)));
        let mut at = None;
        follow("building the image", COPY, steps, |text| {
            at = build_step(text).or(at);
            self.report(image, text.to_owned(), at, false);
        })
        .await
    }

    async fn pull(&self, image: &str) -> Result<(), Failed> {
        // Without a tag the engine would pull every tag there is.
        let last = image.rsplit('/').next().unwrap_or(image);
        let whole =
            if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") };
        let options = CreateImageOptionsBuilder::default().from_image(&whole).build();
        let steps = self.docker.create_image(Some(options), None, None).map(|step| {
            step.and_then(|step| match step.error_detail.and_then(|detail| detail.message) {
                Some(error) => Err(Error::DockerStreamError { error }),
                None => Ok(step.status),
            })
        });
        follow("pulling the image", COPY, Box::pin(steps), |text| {
            self.report(image, text.to_owned(), None, false);
        })
        .await
    }

    fn report(&self, image: &str, text: String, steps: Option<(u32, u32)>, ended: bool) {
        if let Some(progress) = &self.progress {
            progress(Progress { image: image.to_owned(), text, steps, ended });
        }
    }

    fn recent_failure(&self, image: &str) -> Option<String> {
        let failures = self.failures.lock().ok()?;
        let (when, why) = failures.get(image)?;
        (when.elapsed() < FAILURE_HOLDS).then(|| why.clone())
    }

    /// The image, if the engine has it.
    pub async fn inspect(&self, image: &str) -> Result<Option<ImageInspect>, MachineError> {
        match bounded("looking at an image", ASK, self.docker.inspect_image(image)).await {
            Ok(found) => Ok(Some(found)),
            Err(failed) if failed.is_missing() => Ok(None),
            Err(failed) => Err(failed.into()),
        }
    }
}

/// The id of an image.
pub fn id(image: &ImageInspect) -> Result<String, MachineError> {
    image.id.clone().ok_or_else(|| MachineError::Host("Docker named no id for an image".to_owned()))
}

/// Whether it holds somebody's files, whatever name it is called by.
fn is_snapshot(image: &ImageInspect) -> bool {
    let labels = image.config.as_ref().and_then(|config| config.labels.as_ref());
    labels.and_then(|labels| labels.get(labels::SNAPSHOT)).is_some_and(|id| !id.is_empty())
}

/// Refuses an image that lacks what the template promises.
fn check_tools(wanted: &Wanted, has: &BTreeSet<String>) -> Result<(), MachineError> {
    let absent: Vec<&str> =
        wanted.tools.iter().copied().filter(|tool| !has.contains(*tool)).collect();
    if absent.is_empty() {
        return Ok(());
    }
    Err(MachineError::TemplateMissing {
        template: wanted.template.clone(),
        reason: format!(
            "the image {} lacks {}; --template-image {}=IMAGE names another",
            wanted.image,
            absent.join(", "),
            wanted.template
        ),
    })
}

fn labelled_tools(derived: &ImageInspect) -> BTreeSet<String> {
    derived
        .config
        .as_ref()
        .and_then(|config| config.labels.as_ref())
        .and_then(|labels| labels.get(labels::TOOLS))
        .map(|tools| tools.split(',').filter(|tool| !tool.is_empty()).map(str::to_owned).collect())
        .unwrap_or_default()
}

/// Reads what a build or a pull says until it ends: `bound` in all, [`SILENCE`] without a word.
async fn follow(
    what: &'static str,
    bound: Duration,
    mut steps: impl Stream<Item = Result<Option<String>, Error>> + Unpin,
    mut heard: impl FnMut(&str),
) -> Result<(), Failed> {
    let end = Instant::now() + bound;
    loop {
        let left = end.saturating_duration_since(Instant::now()).min(SILENCE);
        let next = async { steps.next().await.transpose() };
        match bounded(what, left, next).await? {
            None => return Ok(()),
            Some(text) => {
                if let Some(text) = text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
                    heard(text);
                }
            }
        }
    }
}

/// `Step 2/5 : RUN …` as (steps done, steps in all).
fn build_step(text: &str) -> Option<(u32, u32)> {
    let (at, of) = text.strip_prefix("Step ")?.split(' ').next()?.split_once('/')?;
    Some((at.parse::<u32>().ok()?.saturating_sub(1), of.parse().ok()?))
}

/// An archive of files: path, content, mode.
fn tar(files: &[(&str, &[u8], u32)]) -> Result<Bytes, MachineError> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        // The same bytes at any time, so that the engine's build cache knows them.
        header.set_mtime(0);
        archive
            .append_data(&mut header, path, *content)
            .map_err(|error| MachineError::Host(format!("packing {path}: {error}")))?;
    }
    let bytes = archive.into_inner();
    bytes.map(Bytes::from).map_err(|error| MachineError::Host(format!("packing: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_a_build_are_counted() {
        assert_eq!(build_step("Step 1/6 : ARG BASE"), Some((0, 6)));
        assert_eq!(build_step("Step 6/6 : CMD"), Some((5, 6)));
        assert_eq!(build_step("Get:1 http://deb.debian.org"), None);
    }

    #[test]
    fn the_dockerfile_takes_its_base_as_an_argument() {
        assert!(DOCKERFILE.contains("ARG BASE=debian:12-slim\nFROM ${BASE}\n"));
        for path in ["/workspace", "/home/sandbox"] {
            assert!(DOCKERFILE.contains(path), "{path}");
        }
    }

    #[test]
    fn the_same_files_make_the_same_archive() {
        let files: &[(&str, &[u8], u32)] = &[(".miosa/agent", b"elf", 0o755)];
        assert_eq!(tar(files).unwrap(), tar(files).unwrap());
    }

    #[tokio::test]
    async fn a_pull_that_fails_midway_fails() {
        let steps = futures_util::stream::iter([
            Ok(Some("Pulling".to_owned())),
            Err(Error::DockerStreamError { error: "no route".to_owned() }),
        ]);
        let mut heard = Vec::new();
        let failed = follow("pulling", ACT, steps, |text| heard.push(text.to_owned())).await;
        assert!(failed.unwrap_err().to_string().contains("no route"));
        assert_eq!(heard, ["Pulling"]);
    }
}
