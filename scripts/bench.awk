# Goals (scripts/bench.goals), then runs (one flat JSON object a line), to tables in Markdown.
# `held` is how many connections the row of idle ones had.

# The median of every run of `field`, or "" where there is none.
function median(row, relay, field,    n, i, j, list, value) {
    n = count[row, relay, field]
    if (!n) return ""
    for (i = 1; i <= n; i++) {
        value = figure[row, relay, field, i]
        for (j = i - 1; j > 0 && list[j] > value; j--) list[j + 1] = list[j]
        list[j + 1] = value
    }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}

# How far a run lies from its row's median on average, in per cent.
function deviation(field,    key, part, middle, i, sum, n) {
    for (key in count) {
        split(key, part, SUBSEP)
        middle = part[3] == field && count[key] > 1 ? median(part[1], part[2], field) : 0
        if (middle <= 0) continue
        for (i = 1; i <= count[key]; i++) {
            sum += figure[part[1], part[2], field, i] > middle ? figure[part[1], part[2], field, i] / middle - 1 : 1 - figure[part[1], part[2], field, i] / middle
            n++
        }
    }
    return n ? sprintf("%.0f %%", 100 * sum / n) : "-"
}

function show(value) {
    if (value == "") return "-"
    return value >= 1000 ? sprintf("%d", value) : sprintf("%.3g", value)
}

function goal_line(goal,    part, ours, peer, compared, ratio, bound, met, verdict, gap) {
    split(goal, part, / *\| */)
    ours = median(part[2], part[5], part[4])
    peer = part[8] == "" ? 1 : median(part[2], part[8], part[4])
    if (ours == "") return
    bound = (part[6] == "<=" ? "at most " : "at least ") part[7]
    compared = part[8] == "" ? "" : part[8] " " show(peer)
    if (peer == "" || peer == 0) {
        verdict = "not compared"
    } else {
        ratio = ours / peer
        met = part[6] == "<=" ? ratio <= part[7] : ratio >= part[7]
        verdict = met ? "met" : "missed"
        if (!met && part[7] > 0) {
            gap = 100 * (ratio > part[7] ? ratio / part[7] - 1 : 1 - ratio / part[7])
            verdict = sprintf(gap < 1 ? "missed by %.1f %%" : "missed by %.0f %%", gap)
        }
        missed += !met
        if (part[8] == "") ratio = ""
    }
    printf "| %s | %s | %s | %s | %s | %s | %s |\n", part[1], part[3], show(ours), compared,
        ratio == "" ? "" : show(ratio), bound, verdict
}

# Beside liburing's proxy.c, the nearest to the limit that is known; with it, where it is given.
function stretch_line(work, row, field, unit,    ours, peer) {
    ours = median(row, "ours", field)
    peer = median(row, "proxy.c", field)
    if (ours != "" && peer > 0) {
        printf "| %s | %s | %s | proxy.c %s | %s | stretch | |\n", work, unit, show(ours), show(peer), show(ours / peer)
    }
}

function runs_line(row, relay,    i, line) {
    line = "| " row " | " relay " | "
    if (count[row, relay, "failed"]) line = line "(failed " count[row, relay, "failed"] "x) "
    for (i = 1; i <= columns; i++) line = line show(median(row, relay, column[i])) " | "
    print line
}

function scale_lines(    i, part, row, eight, thousand, relay) {
    print "| workers | connections | GB/s | CPU s/GB | with --pcap: GB/s | CPU s/GB |"
    print "|---|---|---|---|---|---|"
    for (i = 1; i <= rows; i++) {
        if (split(seen_row[i], part, " ") < 2 || part[1] !~ /^scale/ || part[2] != "ours") continue
        row = part[1]
        split(row, part, /-[wc]/)
        printf "| %s | %s | %s | %s | %s | %s |\n", part[2], part[3],
            show(median(row, "ours", "gb_per_s")), show(median(row, "ours", "cpu_s_per_gb")),
            show(median(row, "ours-pcap", "flushed_gb_per_s")),
            show(median(row, "ours-pcap", "cpu_s_per_gb"))
        workers[part[2]]
    }
    print ""
    for (i in workers) for (relay = 1; relay <= 2; relay++) {
        row = relay == 1 ? "ours" : "ours-pcap"
        eight = median("scale-w" i "-c8", row, "cpu_s_per_gb")
        thousand = median("scale-w" i "-c1000", row, "cpu_s_per_gb")
        if (eight > 0 && thousand != "") {
            printf "CPU s/GB from 8 to 1000 connections, %s workers, %s: x %.2f (goal: at most 1.5, %s)\n\n",
                i, row, thousand / eight, thousand / eight <= 1.5 ? "met" : "missed"
        }
    }
}

function latency_lines(    i, part) {
    print "From a chunk to its packet at a live reader, in ms; dumpcap, which feeds `tshark -i`, brings a clock of its own:\n"
    print "| reader | p50 | p99 | max |"
    print "|---|---|---|---|"
    for (i = 1; i <= rows; i++) {
        split(seen_row[i], part, " ")
        if (part[1] != "latency") continue
        printf "| %s | %s | %s | %s |\n", part[2], show(median("latency", part[2], "p50_ms")),
            show(median("latency", part[2], "p99_ms")), show(median("latency", part[2], "max_ms"))
    }
    print ""
}

FILENAME ~ /goals$/ {
    if (!/^#/) goal[++goals] = $0
    next
}

{
    gsub(/[{}"]/, "")
    n = split($0, pairs, ",")
    delete run
    for (i = 1; i <= n; i++) {
        split(pairs[i], pair, ":")
        run[pair[1]] = pair[2]
    }
    if (!((run["row"], run["relay"]) in known)) {
        known[run["row"], run["relay"]]
        seen_row[++rows] = run["row"] " " run["relay"]
        scaled = scaled || run["row"] ~ /^scale/
    }
    for (field in run) {
        figure[run["row"], run["relay"], field, ++count[run["row"], run["relay"], field]] = run[field] + 0
    }
}

END {
    print "| work | figure | ours | peer | ratio | goal | |"
    print "|---|---|---|---|---|---|---|"
    for (i = 1; i <= goals; i++) goal_line(goal[i])
    stretch_line("bulk, 1 connection", "bulk-1", "cpu_s_per_gb", "relay CPU s/GB")
    stretch_line("bulk, 1 connection", "bulk-1", "gb_per_s", "GB/s")
    stretch_line("bulk, 8 connections", "bulk-8", "cpu_s_per_gb", "relay CPU s/GB")
    stretch_line("bulk, 8 connections", "bulk-8", "gb_per_s", "GB/s")
    print "\nIdle connections held: " held ".\n"
    if (("lost", "dumpcap") in known) {
        printf "dumpcap -i lo on the same traffic kept %d packets and lost %d; we lost %d bytes.\n\n",
            median("lost", "dumpcap", "packets_kept"), median("lost", "dumpcap", "packets_lost"),
            median("lost", "ours-capture", "bytes_lost")
    }
    printf "Noise, how far a run lies from its median on average: CPU s/GB %s, GB/s %s, requests/s %s, p50 %s.\n\n",
        deviation("cpu_s_per_gb"), deviation("gb_per_s"), deviation("requests_per_s"), deviation("p50_us")
    columns = split("gb_per_s flushed_gb_per_s cpu_s_per_gb requests_per_s p50_us p99_us cpu_us_per_request connections_per_s rss_peak_kb handshakes_per_s cpu_ms_per_handshake", column, " ")
    print "| row | relay | GB/s | GB/s to exit | CPU s/GB | requests/s | p50 us | p99 us | CPU us/request | connections/s | peak kB | handshakes/s | CPU ms a handshake |"
    print "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= rows; i++) {
        split(seen_row[i], part, " ")
        if (part[1] !~ /^(scale|lost|start|latency)/) runs_line(part[1], part[2])
    }
    print ""
    if (("latency", "pipe") in known) latency_lines()
    if (scaled) scale_lines()
    print goals ? missed + 0 " goals missed." : ""
}
