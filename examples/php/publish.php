<?php

// Publishes from the command line: php publish.php CHANNEL JSON
//
// The same with nothing but curl:
//     curl -H 'X-API-Key: …' http://127.0.0.1:8080/api/publish -d '{"channel": "news", "data": {"title": "It works"}}'

declare(strict_types=1);

require __DIR__ . '/Loopwire.php';

[, $channel, $json] = $argv + [1 => 'news', 2 => '{"title": "It works"}'];

$position = Loopwire::fromEnvironment()->publish($channel, json_decode($json, flags: JSON_THROW_ON_ERROR));
echo json_encode($position), "\n";
