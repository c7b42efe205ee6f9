<?php

declare(strict_types=1);

/**
 * Talks to loopwire's server API, and makes the tokens that its clients show. One file, no package, no extension.
 *
 *     $loopwire = new Loopwire('http://127.0.0.1:8080', apiKey: '…', tokenSecret: '…');
 *     $loopwire->publish('news', ['title' => 'It works']);
 */
final class Loopwire
{
    public function __construct(
        private readonly string $url,
        private readonly string $apiKey,
        private readonly string $tokenSecret = '',
        private readonly float $timeout = 5.0,
    ) {
    }

    /** The settings that the examples share, each from its environment variable if that is set. */
    public static function fromEnvironment(): self
    {
        return new self(
            getenv('LOOPWIRE_URL') ?: 'http://127.0.0.1:8080',
            getenv('LOOPWIRE_API_KEY') ?: 'an API key of your own',
            getenv('LOOPWIRE_TOKEN_HMAC_SECRET') ?: 'a token secret of your own',
        );
    }

    /**
     * Publishes to all that are subscribed to a channel. $data is anything that JSON can hold.
     *
     * With an idempotency_key in $options, a publish that is tried again is published once:
     * publish('orders', $order, ['idempotency_key' => "order-$id"]).
     */
    public function publish(string $channel, mixed $data, array $options = []): array
    {
        return $this->call('publish', ['channel' => $channel, 'data' => $data] + $options);
    }

    /** Publishes bytes, such as an image: plain WebSockets get them as a binary message. */
    public function publishBytes(string $channel, string $bytes, array $options = []): array
    {
        return $this->call('publish', ['channel' => $channel, 'b64data' => base64_encode($bytes)] + $options);
    }

    /** Sends to all connections of a user; to how many. */
    public function sendToUser(string $user, mixed $data): int
    {
        return $this->call('send', ['user' => $user, 'data' => $data])['receivers'];
    }

    /** Sends to all connections in a group; to how many. */
    public function sendToGroup(string $group, mixed $data, ?string $except = null): int
    {
        $params = ['group' => $group, 'data' => $data] + ($except === null ? [] : ['except' => $except]);
        return $this->call('send', $params)['receivers'];
    }

    /** Sends to every connection, but perhaps one; to how many. */
    public function sendToAll(mixed $data, ?string $except = null): int
    {
        $params = ['all' => true, 'data' => $data] + ($except === null ? [] : ['except' => $except]);
        return $this->call('send', $params)['receivers'];
    }

    /** Puts all connections of a user into a group of the server's. */
    public function joinGroup(string $group, string $user): void
    {
        $this->call('group_join', ['group' => $group, 'user' => $user]);
    }

    /** Whether a user has a connection. */
    public function isOnline(string $user): bool
    {
        return $this->call('connections', ['user' => $user])['connections'] !== [];
    }

    /**
     * Calls a method of the server API; what it answers.
     *
     * @throws RuntimeException if the server is not there, or refuses: then the code is the error's.
     */
    public function call(string $method, array $params = []): array
    {
        $body = json_encode((object) $params, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
        $context = stream_context_create(['http' => [
            'method' => 'POST',
            'header' => ['Content-Type: application/json', "X-API-Key: {$this->apiKey}"],
            'content' => $body,
            'timeout' => $this->timeout,
            'ignore_errors' => true,
        ]]);
        $answer = @file_get_contents("{$this->url}/api/$method", false, $context);
        if ($answer === false) {
            throw new RuntimeException("loopwire cannot be reached at {$this->url}: " . error_get_last()['message']);
        }
        $decoded = json_decode($answer, true);
        if (isset($decoded['result'])) {
            return $decoded['result'];
        }
        $error = $decoded['error'] ?? ['code' => 0, 'message' => trim($answer)];
        throw new RuntimeException("loopwire refuses to $method: {$error['message']}", $error['code']);
    }

    /** A token with which a client connects as this user. */
    public function connectionToken(string $user, int $seconds = 3600, array $claims = []): string
    {
        return $this->token(['sub' => $user, 'exp' => time() + $seconds] + $claims);
    }

    /** A token with which a client of this user subscribes to a channel. */
    public function subscriptionToken(string $user, string $channel, int $seconds = 3600, array $claims = []): string
    {
        return $this->token(['sub' => $user, 'channel' => $channel, 'exp' => time() + $seconds] + $claims);
    }

    /** A JSON Web Token by hand, signed with HS256. */
    public function token(array $claims): string
    {
        $encode = static fn (string $bytes): string => rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
        $head = $encode('{"alg":"HS256","typ":"JWT"}');
        $body = $encode(json_encode((object) $claims, JSON_THROW_ON_ERROR));
        return "$head.$body." . $encode(hash_hmac('sha256', "$head.$body", $this->tokenSecret, binary: true));
    }
}
