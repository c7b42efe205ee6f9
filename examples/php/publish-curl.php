<?php

// The same by PHP's curl extension and without a class: php publish-curl.php CHANNEL JSON

declare(strict_types=1);

[, $channel, $json] = $argv + [1 => 'news', 2 => '{"title": "It works"}'];

$curl = curl_init((getenv('LOOPWIRE_URL') ?: 'http://127.0.0.1:8080') . '/api/publish');
curl_setopt_array($curl, [
    CURLOPT_HTTPHEADER => [
        'Content-Type: application/json',
        'X-API-Key: ' . (getenv('LOOPWIRE_API_KEY') ?: 'an API key of your own'),
    ],
    CURLOPT_POSTFIELDS => json_encode(['channel' => $channel, 'data' => json_decode($json)]),
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_TIMEOUT => 5,
]);
$answer = curl_exec($curl);
if ($answer === false) {
    fwrite(STDERR, curl_error($curl) . "\n");
    exit(1);
}
echo $answer, "\n";
exit(isset(json_decode($answer, true)['result']) ? 0 : 1);
