# DBI with DBD::Pg, with its defaults; behind a pooler without prepared statements of its own.
use strict;
use warnings;
use DBI;
use JSON::PP;

$| = 1;
my $db = DBI->connect("dbi:Pg:", undef, undef, { PrintError => 0, RaiseError => 1, pg_bool_tf => 0 });
$db->{pg_server_prepare} = 0 if $ENV{POOLED};

sub boolean {
    my ($value, $type) = @_;
    return $value unless defined $value && $type eq 'bool';
    return $value ? JSON::PP::true : JSON::PP::false;
}

while (my $line = <STDIN>) {
    my $statement = decode_json($line);
    my $sql = $statement->{sql} =~ s/\$\d+/?/gr;
    my $outcome = eval {
        my $run = $db->prepare($sql);
        $run->execute(@{ $statement->{with} // [] });
        my @rows;
        if ($run->{NUM_OF_FIELDS}) {
            my @types = @{ $run->{pg_type} };
            for my $row (@{ $run->fetchall_arrayref }) {
                push @rows, [ map { boolean($row->[$_], $types[$_]) } 0 .. $#types ];
            }
        }
        { rows => \@rows };
    } // { raises => $db->state };
    print encode_json($outcome), "\n";
}
