//! What runs in one sandbox, looked for from another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::case::made::id;
use crate::case::{Client, Reply};
use crate::each::each;
use crate::fault::Fault;
use crate::session::Session;

/// Something that stands in one sandbox.
#[derive(Debug, Clone, Copy)]
enum Trace {
    File(&'static str),
    Variable,
    Process,
}

/// ISO-008.
pub(super) fn apart(session: &Session) -> Result<(), Fault> {
    let (credentials, sandboxes) = session.prepare(async |case| {
        let (one, other) = (case.organization()?, case.organization()?);
        let sandboxes = [id(&one.sandbox().await?)?, id(&other.sandbox().await?)?];
        Ok(([one.credential().cloned(), other.credential().cloned()], sandboxes))
    })?;
    let traces = each(vec![
        Trace::File("/workspace"),
        Trace::File("/tmp"),
        Trace::File("/root"),
        Trace::File("/workspace/deep/er"),
        Trace::Variable,
        Trace::Process,
    ]);
    let word = "[a-z]{6,12}";
    session.forall((traces, word, 0_usize..2), async |case, (traces, word, from)| {
        let client = |place: usize| {
            let credential = credentials[place].clone();
            Ok::<_, Fault>(case.client(credential.ok_or_else(|| Fault::unable("no credential"))?))
        };
        let (writer, reader) = (client(from)?, client(1 - from)?);
        for trace in traces.iter() {
            let mark = format!("{word}{}", case.name().replace('-', ""));
            trace.left(&writer, &sandboxes[from], &mark).await?;
            for reply in trace.looked_for(&reader, &sandboxes[1 - from], &mark).await? {
                let body = String::from_utf8_lossy(&reply.body);
                let encoded = STANDARD.encode(&mark);
                let found = body.contains(&mark) || body.contains(encoded.trim_end_matches('='));
                let named = reply.status >= 400;
                let expected = format!("nothing of {trace:?} in another sandbox");
                reply.holds(!found || named, expected, reply.summary())?;
            }
        }
        Ok(())
    })
}

async fn run(client: &Client, sandbox: &str, command: &str) -> Result<Reply, Fault> {
    let path = format!("/sandboxes/{sandbox}/exec");
    client.post(path, json!({ "command": command })).send().await?.needs(200)
}

impl Trace {
    async fn left(self, client: &Client, sandbox: &str, mark: &str) -> Result<(), Fault> {
        match self {
            Self::File(directory) => {
                let command = format!("mkdir -p {directory} && echo {mark} > {directory}/{mark}");
                run(client, sandbox, &command).await?;
            }
            Self::Variable => {
                let path = format!("/sandboxes/{sandbox}/env");
                let body = json!({ "vars": [{ "key": format!("V_{mark}").to_uppercase(), "value": mark }] });
                client.put(path, body).send().await?.needs(200)?;
                // What is run next elsewhere must not get what this got.
                run(client, sandbox, "true").await?;
            }
            Self::Process => {
                let body = json!({ "command": format!("sh -c 'sleep 60; : {mark}'") });
                client.make(&format!("/sandboxes/{sandbox}/processes"), body).await?;
            }
        }
        Ok(())
    }

    /// Answers that would show it.
    async fn looked_for(
        self,
        client: &Client,
        sandbox: &str,
        mark: &str,
    ) -> Result<Vec<Reply>, Fault> {
        let get = |path: String| client.get(format!("/sandboxes/{sandbox}{path}")).send();
        Ok(match self {
            Self::File(directory) => vec![
                run(
                    client,
                    sandbox,
                    &format!("cat {directory}/* 2>/dev/null; ls -a {directory} || true"),
                )
                .await?,
                get(format!("/files/list?path={directory}")).await?,
                get(format!("/files/read?path={directory}/{mark}")).await?,
            ],
            Self::Variable => {
                vec![run(client, sandbox, "env").await?, get("/env".to_owned()).await?]
            }
            Self::Process => vec![
                run(client, sandbox, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await?,
                get("/processes?page_size=100".to_owned()).await?,
            ],
        })
    }
}
