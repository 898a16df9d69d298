//! MCP over WebSocket.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::sink_stream::SinkStreamTransport;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::door::{Door, call, client, modern_call, open, open_with, soon};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(
    door: &Door,
    headers: &[(&'static str, &str)],
) -> Result<(Socket, Option<String>), Error> {
    let mut request = format!("ws://{}/ws", door.address).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (socket, response) = connect_async(request).await?;
    let protocol = response
        .headers()
        .get("sec-websocket-protocol")
        .map(|value| value.to_str().unwrap().to_owned());
    Ok((socket, protocol))
}

async fn next(socket: &mut Socket) -> Message {
    soon("a frame", socket.next()).await.expect("the server closed").expect("a frame")
}

async fn ask(socket: &mut Socket, message: &str) -> Value {
    socket.send(Message::text(message)).await.unwrap();
    serde_json::from_str(next(socket).await.to_text().unwrap()).unwrap()
}

#[tokio::test]
async fn an_sdk_client_lists_and_calls_over_websocket() {
    let door = open().await;
    let (socket, _) = connect(&door, &[("sec-websocket-protocol", "mcp")]).await.unwrap();
    let (sink, stream) = socket.split();
    let sink = sink.with(|message| {
        std::future::ready(Ok::<_, Error>(Message::text(serde_json::to_string(&message).unwrap())))
    });
    let stream = stream.filter_map(|frame| {
        std::future::ready(match frame {
            Ok(Message::Text(text)) => Some(serde_json::from_str(&text).unwrap()),
            _ => None,
        })
    });

    let client = ().serve(SinkStreamTransport::new(sink, stream)).await.unwrap();
    let tools = client.list_all_tools().await.unwrap();
    let arguments = json!({"a": 2, "b": 3}).as_object().cloned().unwrap();
    let answer = client
        .call_tool(CallToolRequestParams::new("add").with_arguments(arguments))
        .await
        .unwrap();

    assert_eq!(tools.len(), 8);
    assert_eq!(answer.structured_content, Some(json!({"sum": 5})));
    door.close().await;
}

#[tokio::test]
async fn the_subprotocol_is_echoed_when_asked_for_and_not_needed() {
    let door = open().await;

    let (_socket, asked) =
        connect(&door, &[("sec-websocket-protocol", "other, mcp")]).await.unwrap();
    let (mut plain, not_asked) = connect(&door, &[]).await.unwrap();
    let answer = ask(&mut plain, &modern_call(1, "whoami", json!({})).to_string()).await;

    assert_eq!(asked.as_deref(), Some("mcp"));
    assert_eq!(not_asked, None);
    assert_eq!(answer["result"]["structuredContent"]["proof"], "OwnUser");
    door.close().await;
}

#[tokio::test]
async fn a_text_frame_that_is_no_message_is_answered_and_the_connection_goes_on() {
    let door = open().await;
    let (mut socket, _) = connect(&door, &[]).await.unwrap();

    let parse_error = ask(&mut socket, "{nope").await;
    let shape = ask(&mut socket, "[1]").await;
    let unknown = ask(&mut socket, &modern_call(2, "nope", json!({})).to_string()).await;
    let good = ask(&mut socket, &modern_call(3, "add", json!({"a": 1})).to_string()).await;

    assert_eq!(parse_error["error"]["code"], -32700);
    assert_eq!(shape["error"]["code"], -32600);
    assert_eq!(unknown["error"]["code"], -32602);
    assert_eq!(good["result"]["structuredContent"], json!({"sum": 1}));
    door.close().await;
}

#[tokio::test]
async fn a_binary_frame_closes_the_connection_with_1003() {
    let door = open().await;
    let (mut socket, _) = connect(&door, &[]).await.unwrap();

    socket.send(Message::binary(b"{}".to_vec())).await.unwrap();

    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("no close frame") };
    assert_eq!(frame.code, CloseCode::Unsupported);
    assert_eq!(frame.reason.as_str(), "MCP is text, one message a frame");
    door.close().await;
}

#[tokio::test]
async fn a_message_past_the_limit_is_answered_and_one_far_past_it_ends_the_connection() {
    const MAX: usize = 2000;
    let door = open_with(|plan| plan.options.limits.connection.message_max_bytes = MAX).await;
    let (mut socket, _) = connect(&door, &[]).await.unwrap();

    let past = ask(&mut socket, &"x".repeat(MAX + 1)).await;
    let good = ask(&mut socket, &modern_call(3, "add", json!({"a": 1})).to_string()).await;
    socket.send(Message::text("x".repeat(MAX + 100_000))).await.ok();
    let ended = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    let ended = soon("the connection to end", ended).await;

    assert_eq!(past["error"]["code"], -32600);
    assert_eq!(good["result"]["structuredContent"], json!({"sum": 1}));
    // The close frame may be lost with what was still on its way.
    assert!(matches!(ended, Some(CloseCode::Size) | None), "{ended:?}");
    door.close().await;
}

#[tokio::test]
async fn foreign_pages_and_hosts_cannot_open_a_websocket() {
    let door = open().await;

    for header in [("origin", "https://evil.example.com"), ("host", "evil.example.com")] {
        let Err(Error::Http(response)) = connect(&door, &[header]).await.map(|_| ()) else {
            panic!("{header:?} came in")
        };
        assert_eq!(response.status(), 403, "{header:?}");
    }
    door.close().await;
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_told_what_to_do() {
    let door = open().await;

    let response = client().get(door.url("/ws")).send().await.unwrap();

    assert_eq!(response.status(), 426);
    assert_eq!(response.headers()["upgrade"], "websocket");
    door.close().await;
}

#[tokio::test]
async fn a_websocket_gives_its_place_back_when_it_ends() {
    let door = open_with(|plan| plan.options.limits.connections_max = 1).await;

    for _ in 0..3 {
        let (mut socket, _) = connect(&door, &[]).await.unwrap();
        assert_eq!(door.gauges.connections(), 1);
        let answer = ask(&mut socket, &modern_call(1, "add", json!({"a": 1})).to_string()).await;
        assert_eq!(answer["id"], 1);
        socket.close(None).await.unwrap();
        let closed = async { while socket.next().await.is_some() {} };
        soon("the close to be answered", closed).await;
        let free = async {
            while door.gauges.connections() > 0 {
                tokio::task::yield_now().await;
            }
        };
        soon("the place to be free", free).await;
    }
    door.close().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_call() {
    let door = open().await;
    let (mut socket, _) = connect(&door, &[]).await.unwrap();
    socket.send(Message::text(modern_call(1, "slow", json!({})).to_string())).await.unwrap();
    door.probe.wait_begun().await;

    drop(socket);

    door.probe.wait_cancelled().await;
    door.close().await;
}

#[tokio::test]
async fn the_older_protocol_is_spoken_too() {
    let door = open().await;
    let (mut socket, _) = connect(&door, &[]).await.unwrap();
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}});

    let opened = ask(&mut socket, &initialize.to_string()).await;
    let answer = ask(&mut socket, &call(2, "add", json!({"a": 1})).to_string()).await;

    assert_eq!(opened["result"]["protocolVersion"], "2025-03-26");
    assert_eq!(answer["result"]["structuredContent"], json!({"sum": 1}));
    door.close().await;
}

#[tokio::test]
async fn a_websocket_that_agrees_on_no_protocol_or_rests_too_long_is_closed() {
    let door = open_with(|plan| {
        let limits = &mut plan.options.limits.connection;
        limits.initialize_timeout = Some(Duration::from_millis(100));
        limits.idle_timeout = Some(Duration::from_millis(200));
    })
    .await;
    let (mut silent, _) = connect(&door, &[]).await.unwrap();
    let (mut idle, _) = connect(&door, &[]).await.unwrap();

    let answer = ask(&mut idle, &modern_call(1, "add", json!({"a": 1})).to_string()).await;

    assert_eq!(answer["result"]["structuredContent"], json!({"sum": 1}));
    for (name, socket) in [("the silent", &mut silent), ("the idle", &mut idle)] {
        let closed = async { while let Some(Ok(_)) = socket.next().await {} };
        soon(&format!("{name} connection to be closed"), closed).await;
    }
    door.close().await;
}

#[tokio::test]
async fn a_silent_websocket_is_pinged() {
    let door = open_with(|plan| {
        plan.options.limits.connection.ping_interval = Duration::from_millis(50);
    })
    .await;
    let (mut socket, _) = connect(&door, &[]).await.unwrap();

    let frame = next(&mut socket).await;

    assert!(matches!(frame, Message::Ping(_)), "{frame:?}");
    door.close().await;
}
