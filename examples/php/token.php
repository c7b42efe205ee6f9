<?php

// Prints a token: php token.php USER [CHANNEL]. With a channel it is one for that subscription.

declare(strict_types=1);

require __DIR__ . '/Loopwire.php';

$loopwire = Loopwire::fromEnvironment();
$user = $argv[1] ?? 'ada';
echo isset($argv[2]) ? $loopwire->subscriptionToken($user, $argv[2]) : $loopwire->connectionToken($user), "\n";
