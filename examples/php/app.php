<?php

// An application with a login and a chat, whose session cookie lets its users into loopwire. Two terminals:
//
//     loopwire serve --config examples/php/loopwire.toml
//     php -S 127.0.0.1:8081 examples/php/app.php
//
// and http://127.0.0.1:8081 in two browsers. Pages are for browsers; what begins with /hooks/ is asked by loopwire, which
// sends along the cookie that the browser has sent to it.

declare(strict_types=1);

require __DIR__ . '/Loopwire.php';

/** What loopwire.toml has as hook-header: nobody else is to ask the hooks. */
const HOOK_SECRET = 'a hook secret of your own';

/** Who may enter rooms that are not everybody's. */
const MEMBERS = ['staff' => ['ada']];

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if (str_starts_with($path, '/hooks/')) {
    header('Content-Type: application/json');
    echo json_encode(answer_hook(substr($path, strlen('/hooks/'))), JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
    return;
}

// No password: this is an example of what comes behind a login.
session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Lax']);
match (true) {
    $path === '/login' && $_SERVER['REQUEST_METHOD'] === 'POST' => log_in($_POST['user'] ?? ''),
    $path === '/announce' && isset($_SESSION['user']) => announce($_POST['text'] ?? ''),
    $path === '/' => show_page(),
    default => http_response_code(404),
};

/** What loopwire asks, and is answered by result, error or disconnect. */
function answer_hook(string $what): array
{
    if (!hash_equals(HOOK_SECRET, $_SERVER['HTTP_X_HOOK_SECRET'] ?? '')) {
        http_response_code(403);
        return [];
    }
    $request = json_decode(file_get_contents('php://input'), true, flags: JSON_THROW_ON_ERROR);
    return match ($what) {
        'connect' => on_connect(),
        'subscribe' => on_subscribe($request['user'], $request['channel']),
        'publish' => on_publish($request['user'], $request['data'] ?? null),
        'rpc' => on_rpc($request['user'], $request['method'] ?? ''),
        default => refuse('no such question'),
    };
}

/** Ratchet's onOpen: who is it? The session says so, as for any other request of the browser. */
function on_connect(): array
{
    session_start(['read_and_close' => true]);
    if (!isset($_SESSION['user'])) {
        return refuse('log in first');
    }
    return ['result' => ['user' => $_SESSION['user'], 'info' => ['since' => $_SESSION['since']]]];
}

function on_subscribe(string $user, string $channel): array
{
    $room = substr($channel, strlen('room:'));
    if (isset(MEMBERS[$room]) && !in_array($user, MEMBERS[$room], true)) {
        return refuse("$room is for its members");
    }
    return ['result' => new stdClass()];
}

/** Ratchet's onMessage: what is published is what the application makes of it. */
function on_publish(string $user, mixed $text): array
{
    if (!is_string($text) || trim($text) === '' || length_of($text) > 500) {
        return refuse('a message is a text of 500 characters');
    }
    return ['result' => ['data' => ['user' => $user, 'text' => trim($text), 'at' => date(DATE_ATOM)]]];
}

function on_rpc(string $user, string $method): array
{
    return $method === 'whoami' ? ['result' => ['data' => ['user' => $user]]] : refuse('no such method');
}

function refuse(string $why): array
{
    return ['error' => ['code' => 1000, 'message' => $why]];
}

/** Characters of a text, without needing mbstring. */
function length_of(string $text): int
{
    return (int) preg_match_all('/./su', $text);
}

function log_in(string $user): void
{
    if (preg_match('/^[a-z0-9]{1,32}$/', $user)) {
        session_regenerate_id(true);
        $_SESSION['user'] = $user;
        $_SESSION['since'] = time();
    }
    header('Location: /', response_code: 303);
}

/** An ordinary request of the application that reaches everybody who is connected. */
function announce(string $text): void
{
    Loopwire::fromEnvironment()->publish('room:lobby', ['user' => 'the application', 'text' => $text]);
    header('Location: /', response_code: 303);
}

function show_page(): void
{
    if (!isset($_SESSION['user'])) {
        echo '<!doctype html><title>Log in</title>
            <form method="post" action="/login"><input name="user" placeholder="ada"><button>Log in</button></form>';
        return;
    }
    $user = htmlspecialchars($_SESSION['user']);
    $port = json_encode(parse_url(getenv('LOOPWIRE_URL') ?: 'http://127.0.0.1:8080', PHP_URL_PORT));
    echo <<<HTML
        <!doctype html><title>Lobby</title>
        <p>You are $user.
        <form id="say"><input id="text" autofocus><button>Say</button></form>
        <form method="post" action="/announce"><input name="text"><button>Announce</button></form>
        <ul id="messages"></ul>
        <script>
        let socket;
        function connect() {
            // The cookie of this application goes along by itself.
            socket = new WebSocket("ws://" + location.hostname + ":" + $port + "/channel/room:lobby");
            socket.onmessage = ({ data }) => {
                const { user, text } = JSON.parse(data);
                messages.append(Object.assign(document.createElement("li"), { textContent: user + ": " + text }));
            };
            // From 3500 on, coming back would not help.
            socket.onclose = ({ code }) => code >= 3500 && code < 4000 || setTimeout(connect, 1000 + 4000 * Math.random());
        }
        connect();
        say.onsubmit = (event) => { event.preventDefault(); socket.send(text.value); text.value = ""; };
        </script>
        HTML;
}
