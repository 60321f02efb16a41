<?php
// PDO, with its defaults; behind a pooler with emulated prepares.
$db = new PDO('pgsql:', null, null, [
    PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    PDO::ATTR_EMULATE_PREPARES => getenv('POOLED') !== false,
]);
while (($line = fgets(STDIN)) !== false) {
    $statement = json_decode($line, true);
    try {
        $run = $db->prepare(preg_replace('/\$\d+/', '?', $statement['sql']));
        $run->execute($statement['with'] ?? []);
        $outcome = ['rows' => $run->columnCount() ? $run->fetchAll(PDO::FETCH_NUM) : []];
    } catch (PDOException $error) {
        $outcome = ['raises' => $error->getCode()];
    }
    echo json_encode($outcome), "\n";
}
