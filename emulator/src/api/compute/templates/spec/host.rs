//! What this computer cannot give, said before a build is tried. What only the attempt can tell (whether an image can be
//! pulled, whether a user exists) fails the build.

use super::check::Fault;
use super::{Spec, USER, WORKDIR};
use crate::api::compute::templates::base::{self, Meant};
use crate::app::App;
use crate::http::{ApiResult, Caller};
use crate::machines::{HostKind, TemplateReadiness};

/// What is wrong with a spec here.
///
/// # Errors
/// When the store fails.
pub async fn faults(app: &App, caller: &Caller, spec: &Spec) -> ApiResult<Vec<Fault>> {
    let mut faults = Vec::new();
    let (place, from) = ((caller.org, caller.bound_workspace), spec.from.clone());
    let meant = app.store.read(move |view| base::of(view, place, &from)).await?;
    // Without machines nothing can be known; a build says so.
    let Some(host) = app.machines.host() else { return Ok(faults) };
    let readiness = match &meant {
        Meant::BuiltIn(template) => host.template(template.id).await,
        Meant::Image(image) => host.image(image).await,
        Meant::Own(template) if template.live.is_none() => TemplateReadiness::Missing(format!(
            "template {} has no build that is ready",
            template.slug
        )),
        Meant::Own(_) => TemplateReadiness::FastReady,
    };
    if let TemplateReadiness::Missing(reason) = readiness {
        faults.push(Fault::new("BASE_UNAVAILABLE", "from", reason));
    }
    if host.kind() == HostKind::Host {
        // These machines are processes of this computer: nothing outside their own directory is theirs.
        if !std::path::Path::new(&spec.workdir).starts_with(WORKDIR) {
            let message =
                "must lie below /workspace: machines that are plain processes own nothing else";
            faults.push(Fault::new("UNSUPPORTED", "workdir", message));
        }
        if spec.user != USER {
            let message = "must be root: machines that are plain processes have one user";
            faults.push(Fault::new("UNSUPPORTED", "user", message));
        }
    }
    Ok(faults)
}
