set terminal svg noenhanced size 560,400 font 'Helvetica,12' background '#ffffff'
set encoding utf8
set output 'x.svg'
set border 3 lc rgb '#666666'
set tics nomirror out scale 0.5 textcolor rgb '#222222'
set grid ytics lc rgb '#dddddd' lt 1
set key off
set style fill solid 1
set tmargin 4
set label 1 'Epoch time, predicted and measured' at graph 0, graph 1 left offset 0,2.2 font ',15' tc rgb '#111111'
set label 2 'left, pale: predicted; right: measured; above: measured over predicted' at graph 0, graph 1 left offset 0,0.9 tc rgb '#666666'
set ylabel 's'
set xrange [-0.7:2.7]
set yrange [0:2.296]
unset xtics
set bmargin 4.5
set label 'dp' at 0,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '+2.5 %' at 0,2.05 center offset 0,0.6 font ',10' tc rgb '#222222' front
set label 'ls' at 1,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label 'not possible' at 1,0 left rotate by 90 offset 0,0.5 font ',9' tc rgb '#888888' front
set label 'ahd' at 2,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '-2.5 %' at 2,0.8 center offset 0,0.6 font ',10' tc rgb '#222222' front
set label "small_it\047s \042odd\042^2" at 1,0 center offset 0,-1.9 font ',12' tc rgb '#222222' front
$boxes << END
-0.2 1 -0.4 0 0 2 14145495
0.2 1.025 0 0.4 0 2.05 8947848
1.8 0.4 1.6 2 0 0.8 14136774
2.2 0.39 2 2.4 0 0.78 8921685
END
plot $boxes using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 border rgb '#ffffff' lc rgb variable notitle
unset output
