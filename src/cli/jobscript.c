/* flexhpc jobscript CONFIG: prints a script of jobs/ made ready for a site. Local. The scripts lie
 * beside the binary (jobs/, in a build folder) or in the installed share/flexhpc/jobs. Three lines of a
 * script steer it: its first line that is no comment, before which #SBATCH lines go; the line that
 * sources the site's file, in whose place the file goes; and "CONFIG RUN" in its usage, where it wants
 * a run, or "CONFIG RUN NAME", where it wants a study's name as well. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "flexhpc/io.h"
#include "version.h"

enum {
    LONGEST_SCRIPT = 65536,
    SHORTEST_JOB = 600 /* s: the scripts ask for --signal=USR2@300, which may come a minute early */
};

static const char SOURCES_SITE[] = ". \"${FLEX_SITE:", SITE_RESOURCES[] = "FLEX_SBATCH=(",
                  LINT[] = "# shellcheck source=", SHEBANG[] = "#!/bin/bash\n",
                  WANTS_RUN[] = "CONFIG RUN", WANTS_STUDY[] = "CONFIG RUN NAME";

/* ---- Where the scripts are. */

static fx_status find_jobs(char out[FX_PATH_MAX])
{
    static const char *const places[] = {"jobs", FX_DATA_FROM_BIN "/jobs"};
    char self[FX_PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    FX_REQUIRE(length > 0, FX_EIO, "/proc/self/exe: can't be read: where is the program?");
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        FX_TRY(fx_path(out, "%s/%s", self, places[i]));
        if (fx_file_exists(out)) return FX_OK;
    }
    return fx_fail(FX_EIO, "no jobs/ beside %s and no %s: is flexhpc installed in part?", self, out);
}

/* "generic, perlmutter": the files of a folder that end so, without that. */
static fx_status list_names(const char *folder, const char *suffix, char *out, size_t size)
{
    char **names = NULL;
    int count = 0;
    size_t used = 0;
    out[0] = '\0';
    FX_TRY(fx_list_dir(folder, suffix, &names, &count));
    for (int i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%.*s", i ? ", " : "",
                                 (int)(strlen(names[i]) - strlen(suffix)), names[i]);
    fx_free(names);
    return FX_OK;
}

/* The text of FOLDER/NAME SUFFIX, freed with fx_free; `option` is what asked for it. */
static fx_status read_one(const char *option, const char *folder, const char *name, const char *suffix,
                          char **text)
{
    char path[FX_PATH_MAX], known[512];
    size_t size = 0;
    FX_TRY(fx_path(path, "%s/%s%s", folder, name, suffix));
    if (fx_is_plain_name(name) && fx_file_exists(path))
        return fx_read_text(path, LONGEST_SCRIPT, text, &size);
    FX_TRY(list_names(folder, suffix, known, sizeof known));
    return fx_fail(FX_ECONFIG, "%s: \"%s\" is none of %s (files of %s)", option, name, known, folder);
}

/* The site's file: one of jobs/sites, or the user's own, with a slash in its name. */
static fx_status read_site(const char *jobs, const char *site, char **text)
{
    char folder[FX_PATH_MAX];
    size_t size = 0;
    if (strchr(site, '/')) return fx_read_text(site, LONGEST_SCRIPT, text, &size);
    FX_TRY(fx_path(folder, "%s/sites", jobs));
    return read_one("--site", folder, site, ".env", text);
}

/* ---- What goes in. */

static bool begins(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

/* The line after this one, or the end of the text. */
static const char *next_line(const char *line)
{
    line += strcspn(line, "\n");
    return *line ? line + 1 : line;
}

/* What is between the parentheses of FLEX_SBATCH=(...), on one line of the site's file. */
static fx_status print_resources(const char *site, const char *name)
{
    for (const char *line = site; *line; line = next_line(line)) {
        const char *options = line + strlen(SITE_RESOURCES);
        const size_t length = strcspn(line, ")\n");
        if (!begins(line, SITE_RESOURCES)) continue;
        FX_REQUIRE(line[length] == ')', FX_ECONFIG, "--site: %s: FLEX_SBATCH=(...) is not on one line",
                   name);
        printf("#SBATCH %.*s\n", (int)(line + length - options), options);
        return FX_OK;
    }
    return fx_fail(FX_ECONFIG, "--site: %s: has no line FLEX_SBATCH=(...)", name);
}

/* `set -- CONFIG RUN NAME --set ...`: the script's arguments, before those that it is submitted with.
 */
static fx_status print_arguments(const fx_cli *cli, const char *script)
{
    const bool wants_run = strstr(script, WANTS_RUN) != NULL;
    const char *run = cli->run;
    if (wants_run && !run) { /* runs/NAME of NAME.yaml */
        const char *slash = strrchr(cli->config, '/'), *name = slash ? slash + 1 : cli->config;
        run = fx_pool_print(cli->pool, "runs/%.*s", (int)strcspn(name, "."), name);
        FX_REQUIRE(run, FX_ENOMEM, "no memory for the script");
    }
    const char *words[4] = {"--", cli->config, wants_run ? run : NULL, cli->study};
    printf("set");
    for (int i = 0; i < 4 && words[i]; i++) {
        const char *quoted = fx_cli_quote(cli->pool, words[i]);
        FX_REQUIRE(quoted, FX_ENOMEM, "no memory for the script");
        printf(" %s", quoted);
    }
    for (int i = 0; i < cli->overrides; i++) {
        const char *quoted = fx_cli_quote(cli->pool, cli->override[i]);
        FX_REQUIRE(quoted, FX_ENOMEM, "no memory for the script");
        printf(" --set %s", quoted);
    }
    printf(" \"$@\"\n");
    return FX_OK;
}

/* ---- The script. */

static fx_status print_script(const fx_cli *cli, const char *script, const char *site)
{
    bool head = true;
    FX_REQUIRE(begins(script, SHEBANG), FX_ECONFIG,
               "--job: the script does not begin with #!/bin/bash");
    printf("%s# Made by flexhpc %s: ", SHEBANG, FX_VERSION);
    for (const char *c = cli->line; *c; c++) /* a newline would end the comment */
        putchar(iscntrl((unsigned char)*c) ? '?' : *c);
    printf("\n");
    for (const char *line = script + strlen(SHEBANG); *line; line = next_line(line)) {
        if (head && line[0] != '#') {
            head = false;
            FX_TRY(print_resources(site, cli->site));
            if (cli->nodes) printf("#SBATCH --nodes=%s\n", cli->nodes);
            if (cli->time) printf("#SBATCH --time=%s\n", cli->time);
        }
        if (begins(line, SOURCES_SITE)) {
            printf("%s", site);
            FX_TRY(print_arguments(cli, script));
        } else if (!begins(line, LINT)) {
            printf("%.*s", (int)(next_line(line) - line), line);
        }
    }
    return FX_OK;
}

static fx_status check_options(fx_cli *cli)
{
    double seconds = 0;
    if (!cli->site) cli->site = "generic";
    if (cli->nodes) {
        const size_t digits = strspn(cli->nodes, "0123456789");
        FX_REQUIRE(cli->nodes[digits] == '\0' && digits < 7 && atoi(cli->nodes) > 0, FX_ECONFIG,
                   "--nodes: \"%s\" is no number of nodes", cli->nodes);
    }
    FX_REQUIRE(!cli->time ||
                   (strchr(cli->time, ':') && fx_parse_span(cli->time, &seconds) && seconds > 0),
               FX_ECONFIG, "--time: \"%s\" is no [D-]HH:MM:SS", cli->time);
    FX_REQUIRE(!cli->time || seconds >= SHORTEST_JOB, FX_ECONFIG,
               "--time: \"%s\": at least %d minutes, for Slurm's signal comes up to 6 before the end",
               cli->time, SHORTEST_JOB / 60);
    return FX_OK;
}

/* A study that there is, where the script is a study's and nowhere else. */
static fx_status check_study(const fx_cli *cli, const char *job, const char *script)
{
    char *words[] = {"flexhpc", "study", (char *)cli->study, NULL};
    const fx_command *command = NULL;
    int count = 0;
    const bool wanted = strstr(script, WANTS_STUDY) != NULL;
    FX_REQUIRE(wanted || !cli->study, FX_ECONFIG, "--study: the script %s does not run one", job);
    FX_REQUIRE(!wanted || cli->study, FX_ECONFIG,
               "--study NAME: which study does the script %s run? flexhpc help study lists them", job);
    return cli->study ? fx_cli_find(3, words, &command, &count) : FX_OK;
}

static fx_status run(fx_cli *cli)
{
    char jobs[FX_PATH_MAX], *script = NULL, *site = NULL;
    const char *job = cli->job;
    fx_config config;
    fx_status status = FX_OK;
    FX_TRY(check_options(cli));
    FX_TRY(fx_cli_config(cli, &config)); /* better here than in the queue */
    FX_TRY(find_jobs(jobs));
    if (!job) job = cli->study ? "study" : cli->nodes && atoi(cli->nodes) > 1 ? "train-multi" : "train";
    FX_TRY_DONE(read_one("--job", jobs, job, ".sbatch", &script));
    FX_TRY_DONE(check_study(cli, job, script));
    FX_TRY_DONE(read_site(jobs, cli->site, &site));
    FX_TRY_DONE(print_script(cli, script, site));
done:
    fx_free(script);
    fx_free(site);
    return status;
}

const fx_command fx_command_jobscript = {
    .name = "jobscript",
    .arguments = "CONFIG",
    .help = "print a batch script for Slurm, ready for sbatch",
    .example = "flexhpc jobscript --site perlmutter --nodes 8 --time 06:00:00 --job requeue "
               "configs/flex-medium.yaml >flex.sbatch",
    .options = FX_OPTIONS(
        FX_OPTION_TEXT("--site", "NAME|PATH", site,
                       "a file of jobs/sites, or your own [default generic]"),
        FX_OPTION_TEXT("--nodes", "N", nodes, "nodes [default the script's]"),
        FX_OPTION_TEXT("--time", "[D-]HH:MM:SS", time, "time limit [default the script's]"),
        FX_OPTION_TEXT("--job", "NAME", job,
                       "the script, of jobs/ [default train, of several nodes train-multi]"),
        FX_OPTION_TEXT("--study", "NAME", study, "the study that --job study runs in an array of jobs"),
        FX_OPTION_TEXT("--run", "DIR", run,
                       "the run's or the study's folder [default runs/NAME for NAME.yaml]")),
    .config = FX_NEEDS_CONFIG,
    .run = run,
};
