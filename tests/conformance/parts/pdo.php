<?php
// Claims by parts of PHP's types. What a program of parts does is said in parts.py.
$db = new PDO('pgsql:', null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$instant = new DateTimeImmutable('2026-12-01T12:34:56.789Z');
// By default, as execute() binds it, and beside a cast: a boolean, a time and a float become text first, bytes a PARAM_LOB.
$values = [
    ['integer', 4711],
    ['bigint', 9007199254740993],
    ['text', 'é, org/repo'],
    ['boolean', true, 'true'],
    ['date', '2026-12-01'],
    ['timestamptz', $instant, $instant->format('Y-m-d H:i:s.uP')],
    ['timestamp', '2026-12-01 12:34:56.789'],
    ['numeric', '12.5'],
    ['uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'],
    ['bytea', "\xff\xfe"],
    ['float8', 0.1 + 0.2, json_encode(0.1 + 0.2)],
    ['array', ['a', 'b']],
];

function claim(PDO $db, string $ns, $value, string $cast, int $type = PDO::PARAM_STR): bool
{
    $statement = $db->prepare("SELECT claim_once(?, ?$cast)");
    if ($cast === '') {
        $statement->execute([$ns, $value]);
    } else {
        $statement->bindValue(1, $ns);
        $statement->bindValue(2, $value, $type);
        $statement->execute();
    }
    return $statement->fetchColumn();
}

foreach (array_slice($argv, 2) as $ns) {
    foreach ($values as $part) {
        [$kind, $value] = $part;
        $answer = ['ns' => $ns, 'kind' => $kind, 'as' => get_debug_type($value)];
        if ($argv[1] === 'default') {
            set_error_handler(fn ($number, $message) => throw new ErrorException($message));
            try {
                claim($db, "$ns $kind {$answer['as']}", $value, '');
            } catch (PDOException $error) {
                $answer['refused'] = $error->getCode();
            } catch (Throwable) {
                $answer['refused'] = 'driver';
            }
        } elseif ($kind === 'array') {
            continue;
        } else {
            $type = $kind === 'bytea' ? PDO::PARAM_LOB : PDO::PARAM_STR;
            $answer['won'] = claim($db, $ns, $part[2] ?? $value, "::$kind", $type);
        }
        echo json_encode($answer, JSON_UNESCAPED_UNICODE), "\n";
    }
}
