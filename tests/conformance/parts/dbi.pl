# Claims by parts of Perl's values. What a program of parts does is said in parts.py.
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:pg_types);
use JSON::PP;

$| = 1;
my $db = DBI->connect("dbi:Pg:", undef, undef, { PrintError => 0, RaiseError => 1 });
# By default, and beside a cast: a number's own text has 15 digits, and bytes are bound as bytea.
my @values = (
    [ "integer",     "number",    4711 ],
    [ "bigint",      "number",    9007199254740993 ],
    [ "text",        "string",    "é, org/repo" ],
    [ "boolean",     "number",    1 ],
    [ "date",        "string",    "2026-12-01" ],
    [ "timestamptz", "string",    "2026-12-01T12:34:56.789Z" ],
    [ "timestamp",   "string",    "2026-12-01 12:34:56.789" ],
    [ "numeric",     "string",    "12.5" ],
    [ "uuid",        "string",    "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11" ],
    [ "bytea",       "bytes",     "\xff\xfe" ],
    [ "float8",      "number",    0.1 + 0.2, sprintf("%.17g", 0.1 + 0.2) ],
    [ "array",       "array ref", [ "a", "b" ] ],
);

sub claim {
    my ($ns, $value, $cast) = @_;
    my $statement = $db->prepare("SELECT claim_once(?, ?$cast)");
    $statement->bind_param(1, $ns);
    if ($cast eq "::bytea") { $statement->bind_param(2, $value, { pg_type => PG_BYTEA }) }
    else { $statement->bind_param(2, $value) }
    $statement->execute;
    return ($statement->fetchrow_array)[0] ? JSON::PP::true : JSON::PP::false;
}

my ($mode, @namespaces) = @ARGV;
for my $ns (@namespaces) {
    for my $part (@values) {
        my ($kind, $as, $value, $beside_cast) = @$part;
        my %answer = (ns => $ns, kind => $kind, as => $as);
        if ($mode eq "default") {
            eval { claim("$ns $kind $as", $value, ""); 1 } or $answer{refused} = $db->state || "driver";
        }
        elsif ($kind eq "array") { next }
        else { $answer{won} = claim($ns, $beside_cast // $value, "::$kind") }
        print encode_json(\%answer), "\n";
    }
}
