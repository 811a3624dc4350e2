//! Connections out of machines whose network has only `lo`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;
#[path = "previews/stage.rs"]
#[allow(dead_code)]
mod stage;

use std::net::{IpAddr, SocketAddr};

use harness::BOUND;
use miosa_emulator::proxy::egress;
use serde_json::json;
use stage::{KEY, agent, emulator, said, sandbox};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server of this computer that says who it is to whoever speaks.
async fn neighbour(address: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let answer =
                    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nneighbour";
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

/// What a plain HTTP program inside gets: status and body.
fn fetch(url: &str) -> String {
    format!(
        "env -u no_proxy -u NO_PROXY python3 - <<'END'\nimport urllib.request, urllib.error\n\
         opener = urllib.request.build_opener(urllib.request.ProxyHandler({{'http': 'http://127.0.0.1:3128'}}))\n\
         try:\n answer = opener.open('{url}', timeout=20)\nexcept urllib.error.HTTPError as error:\n answer = error\n\
         print(answer.status, answer.read().decode())\nEND"
    )
}

#[tokio::test]
async fn neither_this_computer_nor_the_emulator_can_be_reached() {
    let emulator = emulator().await;
    let sandbox = sandbox(&emulator.client(KEY)).await;
    let agent = agent(&emulator, sandbox);
    let loopback = neighbour("127.0.0.1".parse().unwrap()).await;
    for target in [
        loopback.to_string(),
        format!("localhost:{}", loopback.port()),
        format!("[::ffff:127.0.0.1]:{}", loopback.port()),
        format!("0.0.0.0:{}", loopback.port()),
        emulator.address.to_string(),
        "169.254.169.254".to_owned(),
    ] {
        // Proxies are for other hosts: only so named does the program ask for them there.
        let got = said(&agent, &fetch(&format!("http://{target}/_emulator/health"))).await;
        assert!(got.starts_with("403 "), "{target}: {got}");
        assert!(got.contains("must not reach"), "{target}: {got}");
    }
    // The same by CONNECT, as TLS goes.
    let connect = format!(
        "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT {loopback} HTTP/1.1\\r\\n\\r\\n' >&3; head -n 1 <&3"
    );
    let refused = said(&agent, &connect).await;
    assert!(refused.contains(" 403 "), "{refused}");
}

#[tokio::test]
async fn a_machine_that_was_stopped_has_its_way_out_again() {
    let emulator = emulator().await;
    let client = emulator.client(KEY);
    let sandbox = sandbox(&client).await;
    for change in ["stop", "resume"] {
        let changed = client.post(&format!("/sandboxes/{sandbox}/{change}"), json!({})).await;
        assert_eq!(changed.status, 200, "{changed:?}");
    }
    // Answered by the emulator: an agent that nobody serves says something else, and later.
    let got = said(&agent(&emulator, sandbox), &fetch("http://127.0.0.1:1/")).await;
    assert!(got.starts_with("403 "), "{got}");
}

#[tokio::test]
async fn an_address_of_this_computer_beyond_loopback_cannot_be_reached() {
    // Where this computer has one: the one that it would use to reach another.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = probe.connect("192.0.2.1:9").ok().and_then(|()| probe.local_addr().ok());
    let own = own.map_or("127.0.0.2".parse().unwrap(), |address| address.ip());
    let emulator = emulator().await;
    let sandbox = sandbox(&emulator.client(KEY)).await;
    let neighbour = neighbour(own).await;
    let got = said(&agent(&emulator, sandbox), &fetch(&format!("http://{neighbour}/"))).await;
    assert!(got.starts_with("403 "), "{got}");
}

#[tokio::test]
async fn what_is_allowed_is_reached_and_what_does_not_answer_is_502() {
    fn anything(_: IpAddr) -> Option<&'static str> {
        None
    }
    let emulator = stage::emulator_without_egress().await;
    let sandbox = sandbox(&emulator.client(KEY)).await;
    let agent = agent(&emulator, sandbox);
    let serving =
        tokio::spawn(egress::serve(agent.clone(), emulator.app.stopping.clone(), anything));
    let neighbour = neighbour("127.0.0.1".parse().unwrap()).await;
    for _ in 0..8 {
        let got = said(&agent, &fetch(&format!("http://{neighbour}/"))).await;
        assert_eq!(got.trim(), "200 neighbour");
    }
    let got = said(&agent, &fetch("http://127.0.0.1:1/")).await;
    assert!(got.starts_with("502 "), "{got}");
    let got = said(&agent, &fetch("http://no-such-name.invalid/")).await;
    assert!(got.starts_with("502 "), "{got}");
    // It ends with the machine.
    emulator.app.machines.remove(sandbox).await.unwrap();
    tokio::time::timeout(BOUND, serving).await.unwrap().unwrap();
}
