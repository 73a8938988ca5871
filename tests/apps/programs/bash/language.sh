# Arrays, parameter expansion, arithmetic, functions, here-documents.
shopt -s extglob globstar nullglob
declare -a list=(one "two words" three)
list+=(four)
unset 'list[0]'
printf '[%s]' "${list[@]}" "${!list[@]}" "${#list[@]}"; echo
declare -A map=([alpha]=1 [beta]=2 [gamma]=3)
for key in $(printf '%s\n' "${!map[@]}" | sort); do echo "$key=${map[$key]}"; done
text="the quick brown fox"
echo "${text^^}" "${text/quick/slow}" "${text##* }" "${text%% *}" "${text:4:5}" "${#text}"
printf '%s\n' "${text//@(quick|brown)/X}"
echo $((2 ** 40 % 1000007)) $((0x7f << 3 | 5)) $((16#ff))
fib() { local n=$1; if ((n < 2)); then echo "$n"; else echo $(($(fib $((n - 1))) + $(fib $((n - 2))))); fi; }
fib 9
cat <<EOF
here: ${map[beta]} $(echo nested "$(echo twice)")
EOF
cat <<-'EOF'
	raw: $HOME $(no)
	EOF
read -r -d '' first second <<<"a   b c"; echo "$first|$second"
while IFS=: read -r name value; do echo "$value $name"; done < <(printf 'x:1\ny:2\n')
mapfile -t lines < <(seq 5); echo "${lines[*]: -2}"
[[ "2024-05-17" =~ ^([0-9]+)-([0-9]+)-([0-9]+)$ ]] && echo "${BASH_REMATCH[3]}.${BASH_REMATCH[2]}"
mkdir -p tree/{a,b}/{1,2}; touch tree/{a,b}/{1,2}/file{1..3}.txt
printf '%s\n' tree/**/file2.txt
case "$text" in *fox) echo ends;; esac
printf '%5.2f|%-6s|%05d|%x|%q\n' 3.14159 ab 42 255 "a b"
select_all=$(for i in {1..200}; do printf '%d ' "$i"; done); echo "${#select_all}"
echo {a..e}{1..3} | tr ' ' '\n' | tac | head -4
echo "${list[@]@Q}" "${text@u}"
