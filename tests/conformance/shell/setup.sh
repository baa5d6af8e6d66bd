printf 'banana 3\napple 10\ncherry 2\napple 1\n' > fruit.txt
printf 'id,name,age,city\n1,Ann,34,Oslo\n2,Bob,27,Rome\n3,Cid,45,Oslo\n4,Dee,27,Paris\n' > people.csv
printf '2024-01-01 INFO start\n2024-01-01 ERROR disk full\n2024-01-02 WARN slow\n2024-01-02 ERROR net down\n2024-01-03 INFO stop\n' > app.log
printf 'The quick brown fox\njumps over the lazy dog\n\nThe end.\n' > text.txt
mkdir -p src/lib docs
printf 'def main():\n    # TODO: fix\n    print("hi")\n' > src/main.py
printf 'def f(x):\n    return x * 2\n' > src/lib/util.py
printf '# Title\nsome words\n' > docs/readme.md
printf '' > empty.txt
