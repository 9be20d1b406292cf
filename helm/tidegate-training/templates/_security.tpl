{{/*
What of podSecurityContext breaks the restricted Pod Security Standard, as JSON: one sentence each. The pods would never
be made, and only an event would say why. The three charts have this file alike.
*/}}
{{- define "security.check" -}}
{{- $wrong := list }}
{{- $context := .Values.podSecurityContext }}
{{- $never := "Pod Security's restricted standard forbids it" }}
{{- if eq (get $context "runAsUser" | toString) "0" }}
{{- $wrong = append $wrong (printf "podSecurityContext.runAsUser is 0, and %s: give another number, or null on OpenShift, which chooses one." $never) }}
{{- end }}
{{- if eq (get $context "runAsNonRoot" | toString) "false" }}
{{- $wrong = append $wrong (printf "podSecurityContext.runAsNonRoot is false, and %s: remove it, or set it to true." $never) }}
{{- end }}
{{- $seccomp := dig "seccompProfile" "type" "" $context }}
{{- if not (has $seccomp (list "" "RuntimeDefault" "Localhost")) }}
{{- $wrong = append $wrong (printf "podSecurityContext.seccompProfile.type is %v, and %s: set it to RuntimeDefault, or to Localhost with a localhostProfile." $seccomp $never) }}
{{- end }}
{{- range $key := list "privileged" "allowPrivilegeEscalation" "capabilities" "readOnlyRootFilesystem" "procMount" }}
{{- if hasKey $context $key }}
{{- $wrong = append $wrong (printf "podSecurityContext.%s is set, which belongs to containers, and theirs are not for choice: remove it." $key) }}
{{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{/* What of serviceAccount cannot be. Takes (dict "root" $ "name" <the account's name>); gives JSON, as above. */}}
{{- define "security.account" -}}
{{- $wrong := list }}
{{- if not (and (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .name) (le (len .name) 253)) }}
{{- $wrong = append $wrong (printf "serviceAccount.name is %q: expected at most 253 characters of a-z, 0-9, '-' and '.', with a letter or digit first and last." .name) }}
{{- else if and .root.Values.serviceAccount.create (eq .name "default") }}
{{- $wrong = append $wrong "The service account would be called 'default', and every namespace has one of that name, which Helm does not take over: set serviceAccount.name to another, or serviceAccount.create to false to use that one." }}
{{- end }}
{{- toJson $wrong }}
{{- end }}
