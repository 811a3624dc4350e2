//! `GET /egress/audit/resource/{id}`: the connections of one sandbox as they are made, over a WebSocket (miosa-go 2.0,
//! miosa-elixir 1.1: one record a text frame); as server-sent events for who does not upgrade.

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;

use crate::api::compute::sandboxes::Sandbox;
use crate::api::platform::events::feed::{self, Feed, Plan};
use crate::api::platform::events::resume::Resume;
use crate::api::platform::events::{frames, resource};
use crate::app::App;
use crate::http::{ApiError, ApiResult, Scoped};
use crate::store::outbox::Class;

/// Both clients ask for it, and miosa-elixir insists on hearing it back.
const PROTOCOL: &str = "miosa-egress-audit-v1";
/// How many records are read at once.
const PAGE: u32 = 100;
/// How long a client may take to read one.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// A quiet socket says this often that it lives.
const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(15);

pub(super) async fn follow(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    resume: Resume,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> ApiResult<Response> {
    let feed = Feed { class: Some(Class::Egress), ..resource::of(&sandbox) };
    let Ok(upgrade) = upgrade else {
        let (show, lives) = (frames::of_egress, resource::lives);
        return feed::open(&app, Plan { feed, backlog: 0, show, last: |_| false, lives }, resume)
            .await;
    };
    app.recorder.flush(&app).await;
    let start = feed.clone();
    let place = app
        .store
        .read(move |view| match resume.seen {
            Some(seen) => view.feed_place(start.org, seen),
            None => view.feed_start(&start, resume.backlog.unwrap_or(0)),
        })
        .await
        .map_err(ApiError::from)?;
    Ok(upgrade.protocols([PROTOCOL]).on_upgrade(move |socket| async move {
        let tasks = app.tasks.clone();
        // Owned by the emulator, which waits for it at its end.
        let _ = tasks.spawn(talk(app, socket, feed, place)).await;
    }))
}

async fn talk(app: App, mut socket: WebSocket, feed: Feed, mut place: i64) {
    loop {
        let bell = app.store.emitted();
        let rung = bell.notified();
        tokio::pin!(rung);
        rung.as_mut().enable();
        let (of, after) = (feed.clone(), place);
        let read = app
            .store
            .read(move |view| Ok((view.feed(&of, after, PAGE)?, resource::lives(view, &of)?)));
        let read: Result<_, crate::store::StoreError> = read.await;
        let Ok((part, lives)) = read else { return };
        place = part.end;
        let quiet = part.events.is_empty();
        for recorded in &part.events {
            let text = frames::connection(recorded).to_string();
            if !said(&mut socket, Message::text(text)).await {
                return;
            }
        }
        if !quiet {
            continue;
        }
        if !lives {
            let _ = said(&mut socket, Message::Close(None)).await;
            return;
        }
        tokio::select! {
            () = app.stopping.cancelled() => {
                let _ = said(&mut socket, Message::Close(None)).await;
                return;
            }
            () = rung => {}
            () = tokio::time::sleep(HEARTBEAT) => {
                if !said(&mut socket, Message::Ping(Vec::new().into())).await {
                    return;
                }
            }
            heard = socket.recv() => match heard {
                // Nothing that it could say is expected.
                Some(Ok(message)) if !matches!(message, Message::Close(_)) => {}
                _ => return,
            },
        }
    }
}

async fn said(socket: &mut WebSocket, message: Message) -> bool {
    matches!(tokio::time::timeout(PATIENCE, socket.send(message)).await, Ok(Ok(())))
}
