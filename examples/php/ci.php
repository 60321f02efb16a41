<?php
// ci.php notify BUILD REPO | pay SERVICE LINE_ITEM AMOUNT

function one(PDO $db, string $sql, array $parameters): mixed
{
    $statement = $db->prepare($sql);
    $statement->execute($parameters);
    return $statement->fetchColumn();
}

function notify(PDO $db, string $build, string $repo): string
{
    $won = one($db, "SELECT claim_once('ci_failure', ?, ?)", [$build, $repo]);
    return $won ? "sent: build $build of $repo failed" : 'not sent';
}

function pay(PDO $db, string $service, string $lineItem, string $amount): string
{
    $db->beginTransaction();
    $key = json_encode(['service_id' => $service, 'line_item_id' => $lineItem]);
    $id = one($db, 'SELECT id FROM with_row_lock(NULL::payments, ?)', [$key]);
    $paid = one($db, 'UPDATE payments SET amount = amount + ? WHERE id = ? RETURNING amount', [$amount, $id]);
    $db->commit();
    return $paid;
}

[, $command, $first, $second] = $argv;
$db = new PDO('pgsql:');
echo $command === 'notify' ? notify($db, $first, $second) : pay($db, $first, $second, $argv[4]), "\n";
