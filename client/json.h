/* Printing JSON to standard output. Any thread that owns it. */
#ifndef LKS_CLIENT_JSON_H
#define LKS_CLIENT_JSON_H

/* Prints text as a JSON string, quotes included; every byte that is not plain ASCII is escaped. */
void lks_json_print_string(const char *text);

#endif
