# needs: git
# A repository from init to garbage collection, with a local clone, branches, a merge and a rebase.
export HOME=$PWD GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1
git config --global user.name Tester; git config --global user.email tester@example.org; git config --global init.defaultBranch main; git config --global advice.detachedHead false
git init -q one; cd one || exit
for i in $(seq 50); do mkdir -p dir$((i % 5)); seq "$i" $((i + 30)) > dir$((i % 5))/file$i; done; ln -s dir1 link; echo '*.tmp' > .gitignore; echo x > junk.tmp; printf '#!/bin/sh\n' > run; chmod +x run
git add -A; git commit -qm 'first'; git rev-parse HEAD; git ls-files -s | md5sum; git status --short
git checkout -qb topic; sed -i s/31/thirty-one/ dir1/file1; git commit -qam 'topic'; git checkout -q main; echo more >> dir2/file2; git commit -qam 'main'
git merge -q -m merged topic; git log --oneline --graph | cat; git rev-parse HEAD; git diff --stat HEAD~1 | cat; git blame -s dir1/file1 | tail -2
git checkout -qb conflict HEAD~1; sed -i s/31/XX/ dir1/file1; git commit -qam conflict; git rebase -q main > /dev/null 2>&1; echo "rebase $?"; git diff --name-only --diff-filter=U; git rebase --abort; git checkout -q main
git tag -a v1 -m one; git describe; git stash list; echo dirty >> run; git stash -q; git stash pop -q; git status --short; git checkout -q run; git archive HEAD | tar t | wc -l
cd ..; git clone -q one two; git -C two log -1 --format='%H %an %s'; git clone -q --no-local one three; git -C three fsck --full; git clone -q --bare one bare.git; git -C two remote -v | grep -c fetch
cd two || exit; git config pull.rebase false; echo two > two; git add two; git commit -qm two; git push -q ../bare.git main; cd ../three || exit; git pull -q ../bare.git main; cat two; git log --oneline | wc -l
git gc -q --aggressive --prune=now; git count-objects -v | grep -E '^(count|packs)'; git fsck; git verify-pack -v .git/objects/pack/*.idx | tail -1 | grep -c ok; git bisect start HEAD v1~1 > /dev/null 2>&1; git bisect reset > /dev/null 2>&1; git worktree add -q ../tree v1; ls ../tree | wc -l; git grep -c thirty | cat
git hash-object -w --stdin <<< content; git cat-file -p d95f3ad14dee633a758d2e331151e950dd13e4ed; git format-patch -1 --stdout | git mailinfo /dev/null /dev/null | head -2; git submodule status | wc -l
