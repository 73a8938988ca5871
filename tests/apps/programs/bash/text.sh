# needs: gawk
# grep, sed and gawk on generated text.
seq 1 500 | gawk '{ printf "%d\t%s\t%.3f\n", $1, substr("abcdefghijklmnopqrstuvwxyz", $1 % 26 + 1, 3), $1 / 7 }' > table
grep -c . table; grep -nE '^(1|2)0[0-9]\s' table | head -3; grep -oP '\b\w{3}\b(?=\t1\.)' table; grep -v -c a table
grep -rlF xyz . ; printf 'one\0two\0' | grep -zc .; printf 'caf\xc3\xa9 ABC\n' | grep -oiE 'É|b'
sed -n '10,12p;$p' table; sed -E 's/^([0-9]+)\t(.*)\t(.*)$/\3 \2 \1/;5q' table; sed '1~100!d' table | sed 'N;s/\n/ + /'
cp table copy; sed -i.bak -e '/ab/d' -e '1i\first' -e '$a\last' copy; wc -l copy copy.bak; head -1 copy; tail -1 copy
printf 'a\nb\nc\n' | sed -n 'H;${x;s/\n/,/g;s/^,//;p}'; echo abc | sed 'y/abc/xyz/;s/y/[&]/'; sed --version | head -1
gawk -F'\t' '{ n[$2]++; s[$2] += $3 } END { for (k in n) printf "%s %d %.2f\n", k, n[k], s[k] | "sort"; close("sort"); print NR }' table
gawk 'BEGIN { while (("seq 3" | getline line) > 0) total += line; print total; print toupper("x"), length("wörd"), strftime("%Y-%m-%d", 86400 * 365, 1) }'
gawk 'BEGIN { print "both ways" |& "cat"; close("cat", "to"); "cat" |& getline answer; print answer; printf "%c%c\n", 72, "i"; print match("foobar", /o+/), RLENGTH }'
gawk 'BEGIN { PROCINFO["sorted_in"] = "@ind_num_asc"; split("c a b", p); n = asort(p); for (i in p) print i, p[i]; exit 3 }'; echo $?
paste -d, <(cut -f1 table) <(cut -f2 table) | sort -t, -k2,2 -k1,1nr | uniq -f0 | md5sum
