/* SPDX-License-Identifier: MIT */
/* What came of it: medians and ratios, as a table for people, and as one JSON document for programs. */
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "bench.h"

static const char *const tag_names[] = {[BENCH_NEAR] = "near", [BENCH_FAR] = "far", [BENCH_MIXED] = "mixed"};

static const struct figure {
    const char *name;  /* in JSON: in ns and a second */
    const char *title; /* in the table, in `unit` */
    double unit;
} figures[BENCH_FIGURES] = {
    [BENCH_P50] = {"p50_ns", "p50 us", 1e3},           [BENCH_P99] = {"p99_ns", "p99 us", 1e3},
    [BENCH_MEAN] = {"mean_ns", "mean us", 1e3},        [BENCH_MESSAGES] = {"messages_per_second", "k messages/s", 1e3},
    [BENCH_BYTES] = {"bytes_per_second", "MB/s", 1e6},
};

/* Those that a shape has, in the order of the columns. */
static const struct shown {
    unsigned count;
    enum bench_figure figure[3];
} shown[] = {
    [BENCH_TRIP] = {3, {BENCH_P50, BENCH_P99, BENCH_MEAN}},
    [BENCH_LOOSE] = {3, {BENCH_P50, BENCH_P99, BENCH_MEAN}},
    [BENCH_PAIRS] = {3, {BENCH_MEAN, BENCH_P50, BENCH_P99}},
    [BENCH_ONE_WAY] = {2, {BENCH_MESSAGES, BENCH_BYTES}},
    [BENCH_LOOSE_WAY] = {2, {BENCH_MESSAGES, BENCH_BYTES}},
};

static const char *const shape_titles[] = {
    [BENCH_TRIP] = "round trip, one core each",
    [BENCH_LOOSE] = "round trip, not pinned",
    [BENCH_PAIRS] = "round trip, two pairs, not pinned",
    [BENCH_ONE_WAY] = "one way, one core each",
    [BENCH_LOOSE_WAY] = "one way, not pinned",
};

/* ---- statistics ------------------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static struct bench_span span(double *values, unsigned count)
{
    if (count == 0)
        return (struct bench_span){0};
    qsort(values, count, sizeof *values, by_value);
    double median = count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
    return (struct bench_span){median, values[0], values[count - 1], count};
}

struct bench_span bench_span_of(const struct bench_result *result, unsigned contender, enum bench_figure figure)
{
    double values[BENCH_RUNS];
    unsigned count = 0;
    for (unsigned round = 0; round < result->rounds; round++) {
        const struct bench_run *run = &result->runs[contender][round];
        if (!run->failed)
            values[count++] = run->figure[figure];
    }
    return span(values, count);
}

static const struct bench_run *runs_of(const struct bench_result *result, const struct bench_contender *contender)
{
    for (unsigned i = 0; result->cell->contenders[i]; i++) {
        if (result->cell->contenders[i] == contender)
            return contender->listen ? result->runs[i] : NULL;
    }
    return NULL;
}

/* The run that is nearest in time to round `round` and had the cores in the state `tag`; NULL if there is none. */
static const struct bench_run *partner(const struct bench_run *runs, unsigned rounds, unsigned round,
                                       enum bench_tag tag)
{
    for (unsigned distance = 0; distance < rounds; distance++) {
        const unsigned at[] = {round + distance, round - distance}; /* which may wrap: then it is not below `rounds` */
        for (unsigned i = 0; i < 2; i++) {
            if (at[i] < rounds && !runs[at[i]].failed && runs[at[i]].tag == tag)
                return &runs[at[i]];
        }
    }
    return NULL;
}

/* Over the pairs of runs in that state; mixed: in either. */
static struct bench_span ratio_in(const struct bench_result *result, const struct bench_ratio *ratio,
                                  enum bench_tag tag)
{
    const struct bench_run *of = runs_of(result, ratio->of), *to = runs_of(result, ratio->to);
    double values[BENCH_RUNS];
    unsigned count = 0;
    for (unsigned round = 0; of && to && round < result->rounds; round++) {
        if (of[round].failed || of[round].tag == BENCH_MIXED || (tag != BENCH_MIXED && of[round].tag != tag))
            continue;
        const struct bench_run *other = partner(to, result->rounds, round, of[round].tag);
        if (other)
            values[count++] = of[round].figure[ratio->figure] / other->figure[ratio->figure];
    }
    return span(values, count);
}

unsigned bench_find(const struct bench_result *result, const struct bench_ratio *ratio,
                    struct bench_finding ret_findings[BENCH_FINDINGS])
{
    const struct bench_finding either = {ratio_in(result, ratio, BENCH_MIXED), ratio->bound[BENCH_NEAR], BENCH_MIXED};
    unsigned count = 0;
    if (ratio->bound[BENCH_FAR] == 0 || either.is.count == 0) {
        ret_findings[0] = either;
        return 1;
    }
    for (enum bench_tag tag = BENCH_NEAR; tag <= BENCH_FAR; tag++) {
        struct bench_span is = ratio_in(result, ratio, tag);
        if (is.count > 0)
            ret_findings[count++] = (struct bench_finding){is, ratio->bound[tag], tag};
    }
    return count;
}

bool bench_holds(const struct bench_ratio *ratio, const struct bench_finding *finding)
{
    const double is = finding->is.median;
    return finding->is.count > 0 && (ratio->least ? is >= finding->bound : is <= finding->bound);
}

/* near or far if all probes of the cell say so. */
static enum bench_tag tag_of(const struct bench_result *result, double *ret_least, double *ret_greatest)
{
    double least = 0, greatest = 0;
    for (unsigned i = 0; result->cell->contenders[i]; i++) {
        for (unsigned k = 0; result->cell->contenders[i]->listen && k < result->rounds * 2; k++) {
            double probe = result->runs[i][k / 2].probe[k % 2];
            least = least == 0 || probe < least ? probe : least;
            greatest = probe > greatest ? probe : greatest;
        }
    }
    *ret_least = least;
    *ret_greatest = greatest;
    return bench_tag_of(least, greatest);
}

static const char *verdict(const struct bench_ratio *ratio, const struct bench_finding *finding)
{
    if (finding->is.count == 0)
        return "not measured";
    if (finding->bound == 0)
        return "told";
    return bench_holds(ratio, finding) ? "pass" : "short";
}

/* ---- the machine ----------------------------------------------------------------------------------------- */

static void processor(char *name, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "processor unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(name, size, "%s", colon + 2);
        break;
    }
    if (file)
        fclose(file);
}

static const char *kernel(void)
{
    static struct utsname name;
    return uname(&name) == 0 ? name.release : "unknown";
}

/* ---- for people ------------------------------------------------------------------------------------------ */

void bench_table_begin(FILE *out, const struct bench_session *session)
{
    char name[128];
    processor(name, sizeof name);
    fprintf(out, "%s, Linux %s, cores %d and %d; %u rounds of %.2f s each; median (least..greatest)\n", name, kernel(),
            session->cores[0], session->cores[1], session->rounds, (double)session->duration / 1e9);
}

static void span_text(char text[64], struct bench_span is, double unit, int digits)
{
    if (is.count == 0)
        snprintf(text, 64, "-");
    else
        snprintf(text, 64, "%.*f (%.*f..%.*f)", digits, is.median / unit, digits, is.least / unit, digits,
                 is.greatest / unit);
}

/* A round trip over shared memory may take a tenth of a us. */
static int digits_of(const struct bench_cell *cell, enum bench_figure figure)
{
    return strcmp(cell->medium, "shm") == 0 && figure <= BENCH_MEAN ? 3 : 1;
}

static void table_contender(FILE *out, const struct bench_result *result, unsigned index)
{
    const struct bench_contender *contender = result->cell->contenders[index];
    const struct shown *columns = &shown[result->cell->shape];
    fprintf(out, "  %-22s", contender->name);
    if (!contender->listen)
        fprintf(out, " not built: the library is not installed");
    for (unsigned i = 0; contender->listen && i < columns->count; i++) {
        char text[64];
        span_text(text, bench_span_of(result, index, columns->figure[i]), figures[columns->figure[i]].unit,
                  digits_of(result->cell, columns->figure[i]));
        fprintf(out, " %28s", text);
    }
    fprintf(out, "\n");
}

static void table_finding(FILE *out, const struct bench_ratio *ratio, const struct bench_finding *finding)
{
    char names[96], text[64], bound[32] = "";
    snprintf(names, sizeof names, "%s / %s, %.*s%s%s", ratio->of->name, ratio->to->name,
             (int)strcspn(figures[ratio->figure].name, "_"), figures[ratio->figure].name,
             finding->tag == BENCH_MIXED ? "" : ", ", finding->tag == BENCH_MIXED ? "" : tag_names[finding->tag]);
    span_text(text, finding->is, 1, 2);
    if (finding->bound > 0)
        snprintf(bound, sizeof bound, "at %s %.2f", ratio->least ? "least" : "most", finding->bound);
    fprintf(out, "    %-52s %22s  %-13s  %s\n", names, text, bound, verdict(ratio, finding));
}

static void table_ratio(FILE *out, const struct bench_result *result, const struct bench_ratio *ratio)
{
    struct bench_finding findings[BENCH_FINDINGS];
    unsigned count = bench_find(result, ratio, findings);
    for (unsigned i = 0; i < count; i++)
        table_finding(out, ratio, &findings[i]);
}

void bench_table_cell(FILE *out, const struct bench_result *result)
{
    const struct bench_cell *cell = result->cell;
    double least, greatest;
    enum bench_tag tag = tag_of(result, &least, &greatest);
    fprintf(out, "\n%s: %zu B over %s, %s; cores %s (%.0f..%.0f ns)\n", cell->name, cell->size, cell->medium,
            shape_titles[cell->shape], tag_names[tag], least, greatest);
    fprintf(out, "  %-22s", "");
    for (unsigned i = 0; i < shown[cell->shape].count; i++)
        fprintf(out, " %28s", figures[shown[cell->shape].figure[i]].title);
    fprintf(out, "\n");
    for (unsigned i = 0; cell->contenders[i]; i++)
        table_contender(out, result, i);
    for (const struct bench_ratio *ratio = cell->ratios; ratio->of; ratio++)
        table_ratio(out, result, ratio);
    fflush(out);
}

void bench_table_end(FILE *out, const struct bench_score *score)
{
    fprintf(out, "\n%u bounds held, %u missed, %u not measured\n", score->held, score->missed, score->unmeasured);
}

/* ---- for programs ---------------------------------------------------------------------------------------- */

/* The names that we print have no other characters that JSON would mind. */
static void json_text(FILE *out, const char *key, const char *text)
{
    fprintf(out, "\"%s\": \"", key);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        if ((unsigned char)*text >= ' ')
            fputc(*text, out);
    }
    fprintf(out, "\"");
}

static void json_span(FILE *out, const char *key, struct bench_span is)
{
    if (is.count == 0)
        fprintf(out, "\"%s\": null", key);
    else
        fprintf(out, "\"%s\": {\"median\": %.6g, \"least\": %.6g, \"greatest\": %.6g, \"rounds\": %u}", key, is.median,
                is.least, is.greatest, is.count);
}

void bench_json_begin(FILE *out, const struct bench_session *session)
{
    char name[128];
    processor(name, sizeof name);
    fprintf(out, "{\n\"machine\": {");
    json_text(out, "processor", name);
    fprintf(out, ", ");
    json_text(out, "kernel", kernel());
    fprintf(out, ", \"cores\": [%d, %d], \"busy_before\": %.2f},\n", session->cores[0], session->cores[1],
            session->busy);
    fprintf(out, "\"rounds\": %u,\n\"run_ns\": %lld,\n\"cells\": [", session->rounds, (long long)session->duration);
}

static void json_run(FILE *out, const struct bench_run *run, enum bench_shape shape)
{
    fprintf(out, "{\"failed\": %s, \"tag\": \"%s\", \"probes_ns\": [%.1f, %.1f], \"count\": %llu",
            run->failed ? "true" : "false", tag_names[run->tag], run->probe[0], run->probe[1],
            (unsigned long long)run->count);
    for (unsigned i = 0; i < shown[shape].count; i++)
        fprintf(out, ", \"%s\": %.6g", figures[shown[shape].figure[i]].name, run->figure[shown[shape].figure[i]]);
    fprintf(out, "}");
}

static void json_contender(FILE *out, const struct bench_result *result, unsigned index)
{
    const struct bench_contender *contender = result->cell->contenders[index];
    fprintf(out, "%s\n    {", index ? "," : "");
    json_text(out, "name", contender->name);
    fprintf(out, ", \"built\": %s", contender->listen ? "true" : "false");
    if (contender->listen) {
        fprintf(out, ", ");
        json_text(out, "shows", contender->shows);
        for (unsigned i = 0; i < shown[result->cell->shape].count; i++) {
            enum bench_figure figure = shown[result->cell->shape].figure[i];
            fprintf(out, ", ");
            json_span(out, figures[figure].name, bench_span_of(result, index, figure));
        }
        fprintf(out, ", \"runs\": [");
        for (unsigned round = 0; round < result->rounds; round++) {
            fprintf(out, "%s\n      ", round ? "," : "");
            json_run(out, &result->runs[index][round], result->cell->shape);
        }
        fprintf(out, "]");
    }
    fprintf(out, "}");
}

static void json_finding(FILE *out, const struct bench_ratio *ratio, const struct bench_finding *finding, bool first)
{
    fprintf(out, "%s\n    {", first ? "" : ",");
    json_text(out, "of", ratio->of->name);
    fprintf(out, ", ");
    json_text(out, "to", ratio->to->name);
    fprintf(out, ", ");
    json_text(out, "figure", figures[ratio->figure].name);
    fprintf(out, ", ");
    if (finding->tag != BENCH_MIXED)
        fprintf(out, "\"cores\": \"%s\", ", tag_names[finding->tag]);
    json_span(out, "is", finding->is);
    if (finding->bound > 0)
        fprintf(out, ", \"%s\": %.2f", ratio->least ? "at_least" : "at_most", finding->bound);
    fprintf(out, ", \"verdict\": \"%s\"}", verdict(ratio, finding));
}

static void json_ratio(FILE *out, const struct bench_result *result, const struct bench_ratio *ratio)
{
    struct bench_finding findings[BENCH_FINDINGS];
    unsigned count = bench_find(result, ratio, findings);
    for (unsigned i = 0; i < count; i++)
        json_finding(out, ratio, &findings[i], ratio == result->cell->ratios && i == 0);
}

void bench_json_cell(FILE *out, const struct bench_result *result, bool first)
{
    const struct bench_cell *cell = result->cell;
    double least, greatest;
    enum bench_tag tag = tag_of(result, &least, &greatest);
    fprintf(out, "%s\n  {", first ? "" : ",");
    json_text(out, "name", cell->name);
    fprintf(out, ", ");
    json_text(out, "shape", shape_titles[cell->shape]);
    fprintf(out, ", ");
    json_text(out, "medium", cell->medium);
    fprintf(out,
            ", \"size\": %zu, \"pinned\": %s, \"tag\": \"%s\", \"probes_ns\": {\"least\": %.1f, \"greatest\": %.1f},\n "
            " \"contenders\": [",
            cell->size, bench_pinned(cell->shape) ? "true" : "false", tag_names[tag], least, greatest);
    for (unsigned i = 0; cell->contenders[i]; i++)
        json_contender(out, result, i);
    fprintf(out, "],\n  \"ratios\": [");
    for (const struct bench_ratio *ratio = cell->ratios; ratio->of; ratio++)
        json_ratio(out, result, ratio);
    fprintf(out, "]}");
    fflush(out);
}

void bench_json_end(FILE *out, const struct bench_score *score)
{
    fprintf(out, "],\n\"held\": %u,\n\"missed\": %u,\n\"unmeasured\": %u\n}\n", score->held, score->missed,
            score->unmeasured);
}
