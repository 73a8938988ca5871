# fork, pipes, sockets, signals, locks, sorting, files.
use strict;
use warnings;
use Fcntl qw(:flock :mode SEEK_SET);
use IO::Handle;
use IO::Select;
use IO::Socket::UNIX;
use POSIX qw(:sys_wait_h strftime mkfifo);
use Socket;
use Time::HiRes qw(usleep);

$| = 1;
my %count;
$count{ $_ % 7 }++ for 1 .. 1000;
print join(',', map {"$_=$count{$_}"} sort keys %count), "\n";

pipe(my $reader, my $writer) or die;
for my $n (1 .. 3) {
    my $pid = fork() // die;
    next if $pid;
    print $writer "child $n\n" x 2;
    close $writer;
    POSIX::_exit($n);
}
close $writer;
print sort <$reader>;
my $sum = 0;
while ((my $pid = wait()) > 0) { $sum += $? >> 8 }
print "sum $sum\n";

open(my $sort, '|-', 'sort -n | tr "\n" " "') or die;
print $sort "$_\n" for 5, 11, 2;
close $sort;
print `echo backticks; exit 3`, $? >> 8, "\n";
print system('kill -9 $$') & 127, "\n";

my $hits = 0;
local $SIG{ALRM} = sub { $hits++ };
local $SIG{CHLD} = sub { 1 while waitpid(-1, WNOHANG) > 0; $hits += 10 };
Time::HiRes::ualarm(20_000);
select(undef, undef, undef, 5);
unless (fork() // die) { POSIX::_exit(0) }
POSIX::pause() until $hits > 10;
print "hits $hits\n";
$SIG{CHLD} = 'DEFAULT';
eval { local $SIG{ALRM} = sub { die "late\n" }; alarm 1; select(undef, undef, undef, 10); };
print "timed out: $@";

my $server = IO::Socket::UNIX->new(Local => 'socket', Listen => 5) or die $!;
unless (fork() // die) {
    my $client = IO::Socket::UNIX->new(Peer => 'socket') or die $!;
    print $client "hello\n";
    print scalar <$client>;
    POSIX::_exit(0);
}
my $peer = $server->accept;
my $line = <$peer>;
print $peer uc $line;
close $peer;
wait;

socketpair(my $left, my $right, AF_UNIX, SOCK_DGRAM, 0) or die;
send($left, "datagram $_", 0) for 1, 2;
for (1, 2) { recv($right, my $got, 100, 0); print "$got\n" }

open(my $file, '+>', 'records') or die;
print $file pack('NA8', $_, "rec$_") for 1 .. 10;
seek($file, 12 * 4, SEEK_SET);
read($file, my $record, 12);
my ($number, $name) = unpack 'NA8', $record;
print "$number $name ", -s $file, "\n";
flock($file, LOCK_EX);
truncate($file, 24);
printf "%o %d\n", S_IMODE((stat 'records')[2]) & 0600, (stat _)[7];
mkdir 'd' or die;
symlink '../records', 'd/link' or die;
rename 'records', 'moved' or die;
print readlink('d/link'), " ", (-e 'd/link' ? 'there' : 'dangling'), "\n";
utime 86400, 86400, 'moved';
print strftime('%F', gmtime((stat 'moved')[9])), "\n";
opendir(my $dir, '.') or die;
print join(' ', sort grep {!/^\./} readdir $dir), "\n";
unlink('moved') == 1 or die;
print "no: $!\n" unless open(my $none, '<', 'moved');
print join(' ', ('the cat sat on the mat' =~ /\b(\w)(\w+)t\b/g)), "\n";
printf "%s %s\n", sprintf('%.10g', exp(1)), scalar reverse 'abc';
