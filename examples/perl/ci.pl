# ci.pl notify BUILD REPO | pay SERVICE LINE_ITEM AMOUNT
use strict;
use warnings;
use DBI;
use JSON::PP;

my $db = DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 1, PrintError => 0 });

sub notify {
    my ($build, $repo) = @_;
    my ($won) = $db->selectrow_array("SELECT claim_once('ci_failure', ?, ?)", undef, $build, $repo);
    return $won ? "sent: build $build of $repo failed" : 'not sent';
}

sub pay {
    my ($service, $line_item, $amount) = @_;
    my $key = encode_json({ service_id => $service, line_item_id => $line_item });
    $db->begin_work;
    my ($id) = $db->selectrow_array('SELECT id FROM with_row_lock(NULL::payments, ?)', undef, $key);
    my ($paid) = $db->selectrow_array(
        'UPDATE payments SET amount = amount + ? WHERE id = ? RETURNING amount', undef, $amount, $id);
    $db->commit;
    return $paid;
}

my ($command, @parameters) = @ARGV;
print $command eq 'notify' ? notify(@parameters) : pay(@parameters), "\n";
