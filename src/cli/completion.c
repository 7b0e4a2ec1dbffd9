/* flexhpc completion: what bash completes after flexhpc, from the tables that the program runs on:
 * commands, their options, what options take, configuration keys and their words. Local. */
#include <ctype.h>
#include <string.h>

#include "cli.h"

/* The function that bash calls. `=` is a word of its own in COMP_WORDS. */
static const char function[] =
    "_flexhpc()\n"
    "{\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} first=1 command before second word takes=''\n"
    "    before=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "    COMPREPLY=()\n"
    "    [ \"${COMP_WORDS[1]}\" != help ] || first=2\n"
    "    if [ \"$COMP_CWORD\" -eq \"$first\" ]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$(_flexhpc_commands '')\" -- \"$current\")\n"
    "        return\n"
    "    fi\n"
    "    command=${COMP_WORDS[first]}\n"
    "    second=$(_flexhpc_commands \"$command\")\n"
    "    if [ -n \"$second\" ] && [ \"$COMP_CWORD\" -eq $((first + 1)) ]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$second\" -- \"$current\")\n"
    "        [ -n \"$(_flexhpc_options \"$command\")\" ] || return # bench is a command as well\n"
    "    elif [[ \" $second \" == *\" ${COMP_WORDS[first + 1]} \"* ]]; then\n"
    "        command+=\" ${COMP_WORDS[first + 1]}\"\n"
    "    fi\n"
    "    if [ \"$current\" = = ]; then\n"
    "        current=''\n"
    "    elif [ \"$before\" = = ]; then\n"
    "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "    elif [[ $before != -* ]]; then\n"
    "        before=\n"
    "    fi\n"
    "    if [[ $current == -* ]]; then\n"
    "        takes=$(_flexhpc_options \"$command\")\n"
    "    elif [[ $before == -* ]]; then\n"
    "        takes=$(_flexhpc_values \"$command $before\")\n"
    "    elif [ -n \"$before\" ]; then\n"
    "        takes=$(_flexhpc_words \"$before\")\n"
    "    fi\n"
    "    for word in ${takes:-FILE}; do\n"
    "        case $word in\n"
    "            DIR) compopt -o filenames; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "
    "\"$current\") ;;\n"
    "            FILE | PATH) compopt -o filenames; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < "
    "<(compgen -f -- \"$current\") ;;\n"
    "            KEY*) compopt -o nospace; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "
    "\"$(_flexhpc_keys)\" -S = -- \"$current\") ;;\n"
    "            [a-z-]*) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W \"$word\" -- "
    "\"$current\") ;;\n"
    "        esac\n"
    "    done 2>/dev/null # compopt has a say in a completion under way alone\n"
    "}\n"
    "complete -F _flexhpc flexhpc\n";

static void print_words(const char *words)
{
    for (; *words; words++)
        putchar(*words == '|' ? ' ' : *words);
}

/* First words, each once, and --help and the like; then the second words of each family. */
static void print_commands(void)
{
    printf("_flexhpc_commands()\n{\n    case $1 in\n        '') echo 'help --help --version");
    for (int i = 0; fx_commands[i]; i++) {
        const char *name = fx_commands[i]->name;
        const size_t n = strcspn(name, " ");
        const char *before = i > 0 ? fx_commands[i - 1]->name : "";
        if (strcspn(before, " ") != n || strncmp(before, name, n) != 0) printf(" %.*s", (int)n, name);
    }
    printf("' ;;\n");
    for (int i = 0; fx_commands[i]; i++) {
        const char *name = fx_commands[i]->name;
        const size_t n = strcspn(name, " ");
        if (!name[n]) continue;
        const bool again = i > 0 && strncmp(fx_commands[i - 1]->name, name, n + 1) == 0;
        const bool more = fx_commands[i + 1] && strncmp(fx_commands[i + 1]->name, name, n + 1) == 0;
        if (!again) printf("        %.*s) echo '", (int)n, name);
        printf("%s%s", again ? " " : "", name + n + 1);
        if (!more) printf("' ;;\n");
    }
    printf("    esac\n}\n");
}

static void print_options(void)
{
    printf("_flexhpc_options()\n{\n    case $1 in\n");
    for (int i = 0; fx_commands[i]; i++) {
        const fx_command *c = fx_commands[i];
        printf("        '%s') echo '--help", c->name);
        for (const fx_option *o = c->options; o && o->name; o++)
            printf(" %s", o->name);
        if (c->config != FX_NO_CONFIG) printf(" %s", fx_cli_set.name);
        printf("' ;;\n");
    }
    printf("    esac\n}\n");
}

static void print_value(const fx_command *c, const fx_option *o)
{
    if (!o->value) return;
    printf("        '%s %s') echo '", c->name, o->name);
    print_words(o->value);
    printf("' ;;\n");
}

static void print_values(void)
{
    printf("_flexhpc_values()\n{\n    case $1 in\n");
    for (int i = 0; fx_commands[i]; i++) {
        for (const fx_option *o = fx_commands[i]->options; o && o->name; o++)
            print_value(fx_commands[i], o);
        if (fx_commands[i]->config != FX_NO_CONFIG) print_value(fx_commands[i], &fx_cli_set);
    }
    printf("    esac\n}\n");
}

static void print_keys(void)
{
    const char *name, *words;
    printf("_flexhpc_keys()\n{\n    echo '");
    for (int i = 0; (name = fx_config_key(i, &words)) != NULL; i++)
        printf("%s%s", i ? " " : "", name);
    printf("'\n}\n_flexhpc_words()\n{\n    case $1 in\n");
    for (int i = 0; (name = fx_config_key(i, &words)) != NULL; i++) {
        if (!words) continue;
        printf("        %s) echo '", name);
        print_words(words);
        printf("' ;;\n");
    }
    printf("        *) echo - ;; # a key without words completes to nothing\n    esac\n}\n");
}

static fx_status run(fx_cli *cli)
{
    (void)cli;
    printf("# bash completion of flexhpc, made by flexhpc completion.\n# shellcheck shell=bash\n");
    print_commands();
    print_options();
    print_values();
    print_keys();
    fputs(function, stdout);
    return FX_OK;
}

const fx_command fx_command_completion = {
    .name = "completion",
    .arguments = "",
    .help = "print what makes bash complete commands, options, keys and their values",
    .example = "source <(flexhpc completion)",
    .run = run,
};
